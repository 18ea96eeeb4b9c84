import { Command, CommanderError } from 'commander';
import { SetupError } from '../device/setup-error.ts';
import { addAttachCommands } from './commands/attach-commands.ts';
import { addDeviceCommands } from './commands/device-commands.ts';
import { examples } from './commands/examples.ts';
import { addListCommands } from './commands/list-commands.ts';
import { addMetadataCommands } from './commands/metadata-commands.ts';
import { addScrub } from './commands/scrub-command.ts';
import { addServingCommands } from './commands/serving-commands.ts';
import { addSetupCommand } from './commands/setup-command.ts';
import { addSpareCommands } from './commands/spare-commands.ts';
import { addWatchingCommands } from './commands/watching-commands.ts';
import { ExitCode, exitCodeHelp } from './exit-code.ts';
import { failureOf } from './failure.ts';
import type { Terminal } from './terminal.ts';
import { packageVersion } from './version.ts';

const overview = `${examples(
  'create old-disk --main /dev/sdb --spare /dev/sdc1',
  'status old-disk',
  'message old-disk 0 list',
  'remove old-disk',
  'assemble --spare /dev/sdc1',
)}

${exitCodeHelp}`;

/** Runs one command line (without program names) to its end; resolves to the exit code. Never rejects. */
export async function runProgram(words: readonly string[], terminal: Terminal): Promise<number> {
  const running = newRunning();
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
export interface Running {
  command: string;
  exitCode: number;
}

/** Commander throws for `--help` and `--version` too; those have printed and are no failure. */
function usageFailure(error: CommanderError, command: string, terminal: Terminal): number {
  if (error.exitCode === 0) return ExitCode.ok;
  if (error.code === 'commander.help') return ExitCode.usage;
  const message = error.message
    .replace(/^error: /, '')
    .replace(/\s*\n\s*/g, ' ')
    .replace(/\.$/, '');
  const isKnown = command !== 'dm-remap';
  const advice = isKnown ? `"dm-remap help ${command}" shows how` : '"dm-remap help" lists the commands';
  terminal.warn(`dm-remap${isKnown ? `: ${command}` : ''}: ${message}; ${advice}`);
  return ExitCode.usage;
}

function newRunning(): Running {
  return { command: 'dm-remap', exitCode: ExitCode.ok };
}

/** Every command with its flags; nothing of it has run. */
export function buildProgram(terminal: Terminal, running: Running = newRunning()): Command {
  const program = new Command('dm-remap')
    .description('Keeps a failing disk in service: bad sectors move to a spare.')
    .option('-V, --version', 'print the version')
    .helpCommand(false)
    .addHelpText('after', overview);
  addServingCommands(program, terminal, running);
  addScrub(program, terminal);
  addSpareCommands(program, terminal);
  addMetadataCommands(program, terminal, running);
  addAttachCommands(program, terminal);
  addDeviceCommands(program, terminal, running);
  addWatchingCommands(program, terminal);
  addListCommands(program, terminal);
  addSetupCommand(program, terminal);
  addHelp(program);
  program
    .command('version')
    .description('print the version')
    .option('--json', 'as JSON')
    .addHelpText('after', examples('version', 'version --json'))
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
  ]) {
    configure(command, terminal);
    command.hook('preSubcommand', (_, subcommand) => {
      running.command = wordsOf(subcommand);
    });
  }
  return program;
}

/** `status`, `metadata check`: how people name a command. */
function wordsOf(command: Command): string {
  const { parent } = command;
  return parent === null || parent.parent === null ? command.name() : `${wordsOf(parent)} ${command.name()}`;
}

/** Not commander's own: it shows the help of all for a command that is not there, and knows no `help metadata check`. */
function addHelp(program: Command): void {
  program
    .command('help')
    .description('show how a command is used; without one, all of them and the exit codes')
    .summary('show how a command is used')
    .argument('[COMMAND...]')
    .addHelpText('after', examples('help', 'help create', 'help metadata check'))
    .action((words: readonly string[]) => {
      let command = program;
      for (const word of words) {
        const next = command.commands.find((below) => below.name() === word);
        if (next === undefined) {
          throw new SetupError('usage', `${words.join(' ')}: no such command; "dm-remap help" lists them`);
        }
        command = next;
      }
      command.outputHelp();
    });
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
