import type { Command } from 'commander';
import type { Terminal } from '../terminal.ts';
import { examples } from './examples.ts';

/** The commands that make a device a block device of the kernel's, and undo it. */
export function addAttachCommands(program: Command, terminal: Terminal): void {
  addAttachFlags(
    program
      .command('attach')
      .description(
        'make a device a block device of the kernel, /dev/dm-remap/NAME and a -partN for each partition; of one that is attached, renew these links',
      )
      .summary('make a device a block device of the kernel')
      .argument('<NAME>'),
  )
    .option('--json', 'print what was done as JSON')
    .addHelpText('after', examples('attach old-disk', 'attach old-disk --read-only --json'))
    .action(async (name, options) => {
      await (await import('../verbs/attach.ts')).runAttach(terminal, name, options);
    });
  program
    .command('detach')
    .description('take the block device away again: not while somebody uses it, who is named')
    .argument('<NAME>')
    .option('--wait <SECONDS>', 'wait so long for whoever uses it (default: 0)')
    .option(
      '--unless-restart <UNIT>',
      "while systemd restarts this unit: end the device's process, and leave the block device to the next one",
    )
    .option('--json', 'print what was done as JSON')
    .addHelpText('after', examples('detach old-disk', 'detach old-disk --wait 30'))
    .action(async (name, options) => {
      await (await import('../verbs/detach.ts')).runDetach(terminal, name, options);
    });
}

function addAttachFlags(command: Command): Command {
  return command
    .option('--read-only', 'let nobody write through it')
    .option(
      '--on-daemon-loss <WHAT>',
      "when the device's process dies: queue:30s lets requests wait for the next one, fail lets them fail (default: queue:30s where the kernel has nbd, else fail, which is by loop)",
    )
    .option(
      '--driver <DRIVER>',
      'by which driver of the kernel: nbd or loop (default: nbd where it is there)',
    );
}
