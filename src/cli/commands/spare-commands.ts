import type { Command } from 'commander';
import type { Terminal } from '../terminal.ts';
import { examples, shellExamples } from './examples.ts';
import { takeoverFlag } from './takeover-flag.ts';

/** The commands about spares: most are about one that nobody serves. */
export function addSpareCommands(program: Command, terminal: Terminal): void {
  addExamine(program, terminal);
  addServedSpares(program, terminal);
  addScan(program, terminal);
  addAdopt(program, terminal);
  addAdoptMain(program, terminal);
  addResize(program, terminal);
  addWipe(program, terminal);
}

/** `spare …`: of a device that is served. */
function addServedSpares(program: Command, terminal: Terminal): void {
  const spare = program
    .command('spare')
    .helpCommand(false)
    .description('the spares of a device that is served')
    .addHelpText('after', examples('spare list old-disk'));
  spare
    .command('list')
    .description('show the spares of a device: state, slots, and when they are full if it goes on like this')
    .argument('<NAME>')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('spare list old-disk', 'spare list old-disk --json'))
    .action(async (name, options) => {
      await (await import('../verbs/spare-list.ts')).runSpareList(terminal, name, options);
    });
  spare
    .command('add')
    .description(
      'give a device one more spare while it serves; new blocks go there when the first one is full',
    )
    .summary('one more spare')
    .argument('<NAME>')
    .argument('<DEVICE>', 'a healthy disk or image file; its contents are lost')
    .option('--check-spare', 'first write and read back all of it; bad places are never used')
    .option('--overwrite-spare', 'also a disk that carries something')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      examples('spare add old-disk /dev/sdd1', 'spare add old-disk /dev/sdd1 --check-spare'),
    )
    .action(async (name, device, options) => {
      await (await import('../verbs/spare-changes.ts')).runSpareAdd(terminal, name, device, options);
    });
  spare
    .command('remove')
    .description(
      'move what a spare holds to the others while the device serves; then it is an ordinary disk. Goes on after a restart',
    )
    .summary('one spare less')
    .argument('<NAME>')
    .argument('<DEVICE>', 'its path, or its place in "spare list"')
    .option('--give-up', 'what it cannot give is lost')
    .option('--yes', 'do give it up')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      examples('spare remove old-disk /dev/sdd1', 'spare remove old-disk spare-1 --give-up --yes'),
    )
    .action(async (name, device, options) => {
      await (await import('../verbs/spare-changes.ts')).runSpareRemove(terminal, name, device, options);
    });
  spare
    .command('replace')
    .description(
      'put another disk in place of the spare while the device serves; what the old one holds is copied, then it is an ordinary disk',
    )
    .summary('put another disk in place of the spare')
    .argument('<NAME>')
    .argument('<DEVICE>', 'at least as large as the old one; its contents are lost')
    .option('--overwrite-spare', 'also a disk that carries something')
    .option('--give-up', 'the old spare does not answer any more: what only it holds is lost')
    .option('--yes', 'do give it up')
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      examples('spare replace old-disk /dev/sdd1', 'spare replace old-disk /dev/sdd1 --give-up --yes'),
    )
    .action(async (name, device, options) => {
      await (await import('../verbs/spare-replace.ts')).runSpareReplace(terminal, name, device, options);
    });
}

function addScan(program: Command, terminal: Terminal): void {
  program
    .command('scan')
    .description('show which disks and images carry spares; without arguments, of all disks of this machine')
    .summary('show which disks carry spares')
    .argument('[DEVICE...]')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('scan', 'scan /dev/sdc1 spare.img --json'))
    .action(async (paths, options) => {
      await (await import('../verbs/scan.ts')).runScan(terminal, paths, options);
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
    .addHelpText('after', examples('examine /dev/sdc1', 'wipe /dev/sdc1 --yes'))
    .action(async (path, options) => {
      await (await import('../verbs/wipe.ts')).runWipe(terminal, path, options);
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
    .addHelpText('after', shellExamples('dd if=/dev/sdc1 of=/dev/sdd1 bs=1M', 'dm-remap adopt /dev/sdd1'))
    .action(async (path, options) => {
      await (await import('../verbs/adopt.ts')).runAdopt(terminal, path, options);
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
      shellExamples(
        'dm-remap remove old-disk',
        'lvextend -L +10G vg/old-disk',
        'dm-remap resize /dev/sdc1',
        'dm-remap assemble --spare /dev/sdc1',
      ),
    )
    .action(async (path, options) => {
      await (await import('../verbs/resize.ts')).runResize(terminal, path, options);
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
    .addHelpText('after', examples('adopt-main /dev/sdc1 --main /dev/sde'))
    .action(async (path, options) => {
      await (await import('../verbs/adopt-main.ts')).runAdoptMain(terminal, path, options);
    });
}

function addExamine(program: Command, terminal: Terminal): void {
  program
    .command('examine')
    .description('show what is on a spare, without changing it')
    .summary('show what is on a spare')
    .argument('<DEVICE>')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('examine /dev/sdc1', 'examine spare.img --json'))
    .action(async (path, options) => {
      await (await import('../verbs/examine.ts')).runExamine(terminal, path, options);
    });
}
