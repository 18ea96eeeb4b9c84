import { type Command, InvalidArgumentError, Option } from 'commander';
import type { Terminal } from '../terminal.ts';
import { examples } from './examples.ts';
import { addPolicyFlags } from './policy-flags.ts';

/** The commands that bring a device into being: they share what says which disks, and where it is exported. */
export function addServingCommands(
  program: Command,
  terminal: Terminal,
  running: { exitCode: number },
): void {
  addCreate(program, terminal);
  addAssemble(program, terminal, running);
  addServe(program, running);
}

/** Options come in the order in which people need them: the disks, what may be done to them, the export. */
function addMainFlags(command: Command): Command {
  return command
    .option('--main <DEVICE>', 'the failing disk: a block device, an image file or an NBD URI')
    .option(
      '--main-table <FILE>',
      'main as a device-mapper table (linear, error, flakey, ...); - for standard input',
    );
}

/** What `assemble` and `serve` share. */
function addAssemblyFlags(command: Command): Command {
  command.argument(
    '[NAME]',
    'with --spare a new name for the device; without it, which device to look for on all disks',
  );
  command.option('--spare <DEVICE>', 'the spare of the device', oneSpare);
  command.option(
    '--wait <SECONDS>',
    'of a NAME without --spare: wait so long for disks that are not there yet',
  );
  command.option('--without-spare', "only read what main has; needs this host's copy of the table");
  addMainFlags(command)
    .option('--accept-main', 'take a main that is not the one the spare remembers, when it carries the same')
    .option('--accept-changes', 'take a main that somebody wrote to since the last clean close')
    .option(
      '--force-takeover',
      'take a spare that another process marks as in use and can never write to again',
    )
    .option(
      '--force',
      'open an older spare, or replicas that are not in sync; acknowledged changes may be missing',
    );
  return addPolicyFlags(addExportFlags(command));
}

function addExportFlags(command: Command): Command {
  return command
    .option('--socket <PATH>', "the export's Unix socket (default: in the runtime directory)")
    .option('--port <NUMBER>', 'also export on 127.0.0.1 at this port')
    .option('--cache <MODE>', 'none, or writeback for image files', 'none')
    .option('--io <ENGINE>', 'uring or node (default: uring where the kernel allows it)')
    .option('--memory <SIZE>', "memory for clients' requests, 4M to 1G (default: 64M)");
}

function addCreate(program: Command, terminal: Terminal): void {
  const command = program
    .command('create')
    .description('format a spare, put it under a failing disk, and serve the two as one healthy device')
    .summary('format a spare, serve it and main as one')
    .argument('<NAME>');
  addMainFlags(command)
    .option(
      '--spare <DEVICE>',
      'a healthy disk or image file for the bad sectors; its contents are lost',
      oneSpare,
    )
    .option('--create-spare <SIZE>', 'make the spare as an image file of this size (64M, 1G) first')
    .option('--overwrite-spare', 'format a spare that carries something')
    .option('--force-takeover', 'also one that another process marks as in use and can never write to again')
    .option('--check-spare', 'first write and read back all of the spare; bad places are never used')
    .option('--fresh', "main's old content is worthless: unreadable sectors read as zeros until written")
    .option('--attach', 'make it a block device of the kernel too, as "attach" does')
    .option('--table <LINE>', "'0 LENGTH remap MAIN SPARE' instead of --main and --spare");
  addPolicyFlags(command);
  addExportFlags(command)
    .option('--json', 'print the new device as JSON')
    .addHelpText(
      'after',
      examples(
        'create old-disk --main /dev/sdb --spare /dev/sdc1',
        'create old-disk --main /dev/sdb --spare spare.img --create-spare 1G',
        'create old-disk --main /dev/sdb --spare /dev/sdc1 --check-spare',
        'create scratch --main /dev/sdb --spare /dev/sdc1 --fresh',
      ),
    )
    .action(async (name, options) => {
      await (await import('../verbs/create.ts')).runCreate(terminal, name, options);
    });
}

function addAssemble(program: Command, terminal: Terminal, running: { exitCode: number }): void {
  const command = program
    .command('assemble')
    .description('serve a device again: its name and its main are on the spare')
    .summary('serve a device again, from its spare');
  addAssemblyFlags(command)
    .option('--all', 'serve every device whose disks are here and prove that they belong together')
    .option('--dry-run', 'with --all: only say what would be served, and why not the others')
    .option('--json', 'print the device as JSON')
    .addHelpText(
      'after',
      examples(
        'assemble --all --dry-run',
        'assemble --all',
        'assemble old-disk',
        'assemble --spare /dev/sdc1',
        'assemble --spare spare.img --main disk.img',
        'assemble old-disk --without-spare --main /dev/sdb',
      ),
    )
    .action(async (name, options) => {
      running.exitCode = await (await import('../verbs/assemble.ts')).runAssemble(terminal, name, options);
    });
}

function addServe(program: Command, running: { exitCode: number }): void {
  const command = program
    .command('serve')
    .description('as assemble, in the foreground, for systemd and the like')
    .summary('as assemble, in the foreground');
  addAssemblyFlags(command)
    .addOption(new Option('--main-label <TEXT>', 'where the table came from').hideHelp())
    .addOption(new Option('--report-descriptor <NUMBER>', 'report readiness there').hideHelp())
    .addHelpText(
      'after',
      examples(
        'serve old-disk --wait 60',
        'serve --spare /dev/sdc1',
        'serve old-disk --spare spare.img --main disk.img --port 10809',
      ),
    )
    .action(async (name, options) => {
      running.exitCode = await (await import('../verbs/serve.ts')).runServe(name, options);
    });
}

/** The last of two would win, silently. The others of a device are found by the first. */
function oneSpare(value: string, before: string | undefined): string {
  if (before === undefined) return value;
  throw new InvalidArgumentError(
    'one spare is named here: "spare add" gives a device more, and the one with the table finds the others',
  );
}
