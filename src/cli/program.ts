import { Command, CommanderError, Option } from 'commander';
import { addDeviceCommands } from './device-commands.ts';
import { ExitCode, exitCodeHelp } from './exit-code.ts';
import { failureOf } from './failure.ts';
import { addPolicyFlags } from './policy-flags.ts';
import { addSpareCommands } from './spare-commands.ts';
import type { Terminal } from './terminal.ts';
import { packageVersion } from './version.ts';

const examples = `
Examples:
  dm-remap create old-disk --main /dev/sdb --spare /dev/sdc1
  dm-remap status old-disk
  dm-remap message old-disk 0 list
  dm-remap remove old-disk
  dm-remap assemble --spare /dev/sdc1

${exitCodeHelp}`;

/** Runs one command line (without program names) to its end; resolves to the exit code. Never rejects. */
export async function runProgram(words: readonly string[], terminal: Terminal): Promise<number> {
  const running: Running = { command: 'dm-remap', exitCode: ExitCode.ok };
  const program = buildProgram(terminal, running);
  try {
    await program.parseAsync(words, { from: 'user' });
    return running.exitCode;
  } catch (error) {
    if (error instanceof CommanderError) return usageFailure(error, running.command, terminal);
    const { exitCode, message } = failureOf(error);
    terminal.warn(`dm-remap: ${running.command}: ${message}`);
    return exitCode;
  }
}

/** Which command is at work, for messages, and what it ends with when it does not throw. */
interface Running {
  command: string;
  exitCode: number;
}

/** Commander throws for `--help` and `--version` too; those have printed and are no failure. */
function usageFailure(error: CommanderError, command: string, terminal: Terminal): number {
  if (error.exitCode === 0) return ExitCode.ok;
  if (error.code === 'commander.help') return ExitCode.usage;
  const message = error.message.replace(/^error: /, '').replace(/\s*\n\s*/g, ' ');
  terminal.warn(`dm-remap${command === 'dm-remap' ? '' : `: ${command}`}: ${message}`);
  return ExitCode.usage;
}

function buildProgram(terminal: Terminal, running: Running): Command {
  const program = new Command('dm-remap')
    .description('Keeps a failing disk in service: bad sectors move to a spare.')
    .option('-V, --version', 'print the version')
    .helpCommand('help [COMMAND]', 'show how a command is used')
    .addHelpText('after', examples);
  program.hook('preSubcommand', (_, subcommand) => {
    running.command = subcommand.name();
  });
  addCreate(program, terminal);
  addAssemble(program, terminal);
  addServe(program, running);
  addExamine(program, terminal);
  addSpareCommands(program, terminal, running);
  addDeviceCommands(program, terminal);
  program
    .command('version')
    .description('print the version')
    .option('--json', 'as JSON')
    .action((options: { json?: boolean }) => {
      const version = packageVersion();
      terminal.print(options.json === true ? JSON.stringify({ version }) : version);
    });
  program.on('option:version', () => {
    terminal.print(packageVersion());
    throw new CommanderError(ExitCode.ok, 'commander.version', '');
  });
  for (const command of [
    program,
    ...program.commands,
    ...program.commands.flatMap(({ commands }) => commands),
  ])
    configure(command, terminal);
  return program;
}

/** Errors are thrown, not printed: `runProgram` prints each as one line. */
function configure(command: Command, terminal: Terminal): void {
  command.exitOverride();
  command.configureHelp({ subcommandTerm });
  command.configureOutput({
    writeOut: (text) => terminal.print(text.trimEnd()),
    writeErr: (text) => terminal.warn(text.trimEnd()),
    outputError: () => undefined,
  });
}

/** Every command has options; saying so for each leaves no room on a line for what it does. */
function subcommandTerm(command: Command): string {
  const words = command.registeredArguments.map((argument) => {
    const name = argument.variadic ? `${argument.name()}...` : argument.name();
    return argument.required ? `<${name}>` : `[${name}]`;
  });
  return [command.name(), ...words].join(' ');
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
  command.argument('[NAME]', 'a new name for the device; without it, the one on the spare');
  command.option('--spare <DEVICE>', 'the spare of the device');
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
    .option('--cache <MODE>', 'none, or writeback for image files', 'none');
}

function addCreate(program: Command, terminal: Terminal): void {
  const command = program
    .command('create')
    .description('format a spare, put it under a failing disk, and serve the two as one healthy device')
    .summary('format a spare, serve it and main as one')
    .argument('<NAME>');
  addMainFlags(command)
    .option('--spare <DEVICE>', 'a healthy disk or image file for the bad sectors; its contents are lost')
    .option('--create-spare <SIZE>', 'make the spare as an image file of this size (64M, 1G) first')
    .option('--overwrite-spare', 'format a spare that carries something')
    .option('--force-takeover', 'also one that another process marks as in use and can never write to again')
    .option('--fresh', "main's old content is worthless: unreadable sectors read as zeros until written")
    .option('--table <LINE>', "'0 LENGTH remap MAIN SPARE' instead of --main and --spare");
  addPolicyFlags(command);
  addExportFlags(command)
    .option('--json', 'print the new device as JSON')
    .addHelpText(
      'after',
      `
Examples:
  dm-remap create old-disk --main /dev/sdb --spare /dev/sdc1
  dm-remap create old-disk --main /dev/sdb --spare spare.img --create-spare 1G
  dm-remap create scratch --main /dev/sdb --spare /dev/sdc1 --fresh --on-lost zero`,
    )
    .action(async (name, options) => {
      await (await import('./create.ts')).runCreate(terminal, name, options);
    });
}

function addAssemble(program: Command, terminal: Terminal): void {
  const command = program
    .command('assemble')
    .description('serve a device again: its name and its main are on the spare')
    .summary('serve a device again, from its spare');
  addAssemblyFlags(command)
    .option('--json', 'print the device as JSON')
    .addHelpText(
      'after',
      `
Examples:
  dm-remap assemble --spare /dev/sdc1
  dm-remap assemble --spare spare.img --main disk.img
  dm-remap assemble old-disk --without-spare --main /dev/sdb`,
    )
    .action(async (name, options) => {
      await (await import('./assemble.ts')).runAssemble(terminal, name, options);
    });
}

function addServe(program: Command, running: Running): void {
  const command = program
    .command('serve')
    .description('as assemble, in the foreground, for systemd and the like')
    .summary('as assemble, in the foreground');
  addAssemblyFlags(command)
    .addOption(new Option('--main-label <TEXT>', 'where the table came from').hideHelp())
    .addOption(new Option('--report-descriptor <NUMBER>', 'report readiness there').hideHelp())
    .action(async (name, options) => {
      running.exitCode = await (await import('./serve.ts')).runServe(name, options);
    });
}

function addExamine(program: Command, terminal: Terminal): void {
  program
    .command('examine')
    .description('show what is on a spare, without changing it')
    .summary('show what is on a spare')
    .argument('<DEVICE>')
    .option('--json', 'as JSON')
    .action(async (path, options) => {
      await (await import('./examine.ts')).runExamine(terminal, path, options);
    });
}
