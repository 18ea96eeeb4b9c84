import type { Command } from 'commander';
import { blockBytesDefault } from '../bad-sectors/list-flags.ts';
import type { Terminal } from '../terminal.ts';
import { examples, shellExamples } from './examples.ts';

const blockFlag = ['-b, --block-bytes <BYTES>', 'block size of a badblocks list', blockBytesDefault] as const;

/** Lists of bad sectors, for other programs and from them. */
export function addListCommands(program: Command, terminal: Terminal): void {
  program
    .command('export')
    .description('print what is bad, for ddrescue, badblocks, dmsetup or a program of yours')
    .summary('print what is bad, for other programs')
    .argument('[NAME]')
    .option('--format <FORMAT>', 'ddrescue, badblocks, dmsetup or json (default: json)')
    .option('--of <WHICH>', 'bad sectors of the device (without bytes), or of main (also moved ones)')
    .option(...blockFlag)
    .option('--spare <DEVICE>', 'read from a spare, also while nobody serves it')
    .option('--force', 'with --spare: also from replicas that are not in sync')
    .option('--json', 'as --format json')
    .addHelpText(
      'after',
      examples(
        'export old-disk --format ddrescue > old-disk.map',
        'export old-disk --format badblocks -b 4096 > bad-blocks',
        'export old-disk --format ddrescue --of main > raw.map',
        'export --spare /dev/sdc1 --format dmsetup > table',
      ),
    )
    .action(async (name, options) => {
      await (await import('../verbs/export.ts')).runExport(terminal, name, options);
    });
  program
    .command('import')
    .description('tell a device which sectors another tool found bad; main is asked for each once')
    .summary('tell a device which sectors are bad')
    .argument('<NAME>')
    .argument('<FILE>', 'a list of bad sectors; - for standard input')
    .option('--format <FORMAT>', 'ddrescue, badblocks or json (default: seen from the list)')
    .option(...blockFlag)
    .option('--json', 'print what was noted as JSON')
    .addHelpText(
      'after',
      shellExamples(
        'badblocks -b 4096 /dev/sdb > bad; dm-remap import old-disk bad -b 4096',
        'dm-remap import old-disk rescue.map',
      ),
    )
    .action(async (name, path, options) => {
      await (await import('../verbs/import.ts')).runImport(terminal, name, path, options);
    });
}
