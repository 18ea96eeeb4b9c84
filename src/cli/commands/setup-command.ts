import type { Command } from 'commander';
import type { Terminal } from '../terminal.ts';
import { examples } from './examples.ts';

/** What makes this machine, or an image of one, start devices at boot. */
export function addSetupCommand(program: Command, terminal: Terminal): void {
  program
    .command('setup')
    .description(
      'install what starts devices at boot and watches them (systemd units) and hides their mains from automounters (a udev rule); asks first',
    )
    .summary('let this machine start devices at boot')
    .option('--dry-run', 'only show what would be written')
    .option('--uninstall', 'remove what setup has written')
    .option('--yes', 'do it without asking')
    .option('--root <DIR>', 'write below this folder: for images of machines', '/')
    .option('--program <PATH>', 'where the unit finds dm-remap (default: this one)')
    .option('--node <PATH>', 'where the unit finds Node (default: this one)')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      examples('setup --dry-run', 'setup --yes', 'setup --root /mnt/image --yes', 'setup --uninstall'),
    )
    .action(async (options) => {
      await (await import('../verbs/setup.ts')).runSetup(terminal, options);
    });
}
