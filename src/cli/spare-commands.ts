import type { Command } from 'commander';
import type { Terminal } from './terminal.ts';

/** M11, wherever a spare is written to. */
const takeoverFlag = [
  '--force-takeover',
  'also a spare that another process marks as in use and can never write to again',
] as const;

/** The commands about a spare that nobody serves. */
export function addSpareCommands(program: Command, terminal: Terminal, running: { exitCode: number }): void {
  addScan(program, terminal);
  addAdopt(program, terminal);
  addAdoptMain(program, terminal);
  addResize(program, terminal);
  addMetadata(program, terminal, running);
  addWipe(program, terminal);
}

function addScan(program: Command, terminal: Terminal): void {
  program
    .command('scan')
    .description('show which disks and images carry spares; without arguments, of all disks of this machine')
    .summary('show which disks carry spares')
    .argument('[DEVICE...]')
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExamples:\n  dm-remap scan\n  dm-remap scan /dev/sdc1 spare.img --json')
    .action(async (paths, options) => {
      await (await import('./scan.ts')).runScan(terminal, paths, options);
    });
}

function addWipe(program: Command, terminal: Terminal): void {
  program
    .command('wipe')
    .description(
      'make a spare an ordinary disk again: nothing finds it any more, what was moved to it is lost',
    )
    .summary('make a spare an ordinary disk again')
    .argument('<DEVICE>')
    .option('--yes', 'do it')
    .option(...takeoverFlag)
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExamples:\n  dm-remap examine /dev/sdc1\n  dm-remap wipe /dev/sdc1 --yes')
    .action(async (path, options) => {
      await (await import('./wipe.ts')).runWipe(terminal, path, options);
    });
}

const metadataExamples = `
Examples:
  dm-remap metadata check /dev/sdc1
  dm-remap metadata dump /dev/sdc1 > old-disk.dump
  dm-remap metadata repair /dev/sdc1 --yes
  dm-remap metadata restore old-disk.dump /dev/sdc1 --yes

"check" ends with 0 when nothing is wrong, with 6 when it printed findings.`;

/** All of them refuse a spare that is served. */
function addMetadata(program: Command, terminal: Terminal, running: { exitCode: number }): void {
  const metadata = program
    .command('metadata')
    .description('check, copy and mend the metadata of a spare that is not served')
    .summary('check, copy and mend metadata')
    .addHelpText('after', metadataExamples);
  metadata
    .command('check')
    .description('read every replica, journal and checkpoint, and compare; one line a finding')
    .argument('<SPARE>')
    .option('--json', 'as JSON')
    .action(async (path, options) => {
      running.exitCode = await (await import('./metadata.ts')).runCheck(terminal, path, options);
    });
  metadata
    .command('dump')
    .description('print facts, replicas and records as text that "restore" takes')
    .argument('<SPARE>')
    .option('--force', 'also from replicas that are not in sync')
    .option('--json', 'as JSON')
    .action(async (path, options) => {
      await (await import('./metadata.ts')).runDump(terminal, path, options);
    });
  metadata
    .command('repair')
    .description('write every replica anew from what the good ones hold')
    .argument('<SPARE>')
    .option('--yes', 'do it')
    .option(...takeoverFlag)
    .option('--json', 'as JSON')
    .action(async (path, options) => {
      await (await import('./metadata.ts')).runRepair(terminal, path, options);
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
    .addHelpText('after', '\nExamples:\n  dm-remap metadata restore old-disk.dump /dev/sdc1 --yes')
    .action(async (file, path, options) => {
      await (await import('./metadata.ts')).runRestore(terminal, file, path, options);
    });
}

function addAdopt(program: Command, terminal: Terminal): void {
  program
    .command('adopt')
    .description('move a device to a copy of its spare, made with dd or restored from a backup')
    .summary('move a device to a copy of its spare')
    .argument('<SPARE>')
    .option('--force', 'also an older copy; what was acknowledged since is lost')
    .option(...takeoverFlag)
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExamples:\n  dd if=/dev/sdc1 of=/dev/sdd1 bs=1M\n  dm-remap adopt /dev/sdd1')
    .action(async (path, options) => {
      await (await import('./adopt.ts')).runAdopt(terminal, path, options);
    });
}

function addResize(program: Command, terminal: Terminal): void {
  program
    .command('resize')
    .description('give a device that is not served the size that its main has grown to')
    .summary('give a device the size of a grown main')
    .argument('<SPARE>')
    .option('--main <DEVICE>', 'main, when it is not where the spare last saw it')
    .option('--main-table <FILE>', 'main as a device-mapper table')
    .option(...takeoverFlag)
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      '\nExamples:\n  dm-remap remove old-disk\n  lvextend -L +10G vg/old-disk\n  dm-remap resize /dev/sdc1\n' +
        '  dm-remap assemble --spare /dev/sdc1',
    )
    .action(async (path, options) => {
      await (await import('./resize.ts')).runResize(terminal, path, options);
    });
}

function addAdoptMain(program: Command, terminal: Terminal): void {
  program
    .command('adopt-main')
    .description('tell a spare that its main is on another disk now, after a look that both hold the same')
    .summary('move a device to another main that holds the same')
    .argument('<SPARE>')
    .option('--main <DEVICE>', 'the disk that main was copied or moved to')
    .option('--accept-changes', 'also when its contents are others, or cannot be compared')
    .option(...takeoverFlag)
    .option('--json', 'as JSON')
    .addHelpText('after', '\nExamples:\n  dm-remap adopt-main /dev/sdc1 --main /dev/sde')
    .action(async (path, options) => {
      await (await import('./adopt-main.ts')).runAdoptMain(terminal, path, options);
    });
}
