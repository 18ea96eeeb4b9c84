import type { Command } from 'commander';
import type { Terminal } from '../terminal.ts';
import { examples } from './examples.ts';
import { takeoverFlag } from './takeover-flag.ts';

const overview = `${examples('metadata check /dev/sdc1', 'metadata dump /dev/sdc1 > old-disk.dump', 'metadata repair /dev/sdc1 --yes', 'metadata restore old-disk.dump /dev/sdc1 --yes')}

"check" ends with 0 when nothing is wrong, with 6 when it printed findings.`;

/** `metadata …`: all of them refuse a spare that is served. */
export function addMetadataCommands(
  program: Command,
  terminal: Terminal,
  running: { exitCode: number },
): void {
  const metadata = program
    .command('metadata')
    .helpCommand(false)
    .description('check, copy and mend the metadata of a spare that is not served')
    .summary('check, copy and mend metadata')
    .addHelpText('after', overview);
  metadata
    .command('check')
    .description('read every replica, journal and checkpoint, and compare; one line a finding')
    .argument('<SPARE>')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('metadata check /dev/sdc1'))
    .action(async (path, options) => {
      running.exitCode = await (await import('../verbs/metadata.ts')).runCheck(terminal, path, options);
    });
  metadata
    .command('dump')
    .description('print facts, replicas and records as text that "restore" takes')
    .argument('<SPARE>')
    .option('--force', 'also from replicas that are not in sync')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('metadata dump /dev/sdc1 > old-disk.dump'))
    .action(async (path, options) => {
      await (await import('../verbs/metadata.ts')).runDump(terminal, path, options);
    });
  metadata
    .command('repair')
    .description('write every replica anew from what the good ones hold')
    .argument('<SPARE>')
    .option('--yes', 'do it')
    .option(...takeoverFlag)
    .option('--json', 'as JSON')
    .addHelpText('after', examples('metadata repair /dev/sdc1 --yes'))
    .action(async (path, options) => {
      await (await import('../verbs/metadata.ts')).runRepair(terminal, path, options);
    });
  metadata
    .command('restore')
    .description('write a dump onto the spare that it is of, as a fresh generation')
    .argument('<FILE>')
    .argument('<SPARE>')
    .option('--yes', 'do it')
    .option('--force', 'also an older dump, what came in between is lost; also onto a copy of its spare')
    .option(...takeoverFlag)
    .option('--json', 'as JSON')
    .addHelpText('after', examples('metadata restore old-disk.dump /dev/sdc1 --yes'))
    .action(async (file, path, options) => {
      await (await import('../verbs/metadata.ts')).runRestore(terminal, file, path, options);
    });
}
