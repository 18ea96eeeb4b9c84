import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import type { Command } from 'commander';
import { buildProgram } from '../../src/cli/program.ts';

export const referencePath: string = fileURLToPath(new URL('../../../docs/cli.md', import.meta.url));

/** As wide as a terminal that nobody has made wider; the page is read in such ones too. */
const helpWidth = 80;

/** Every verb that can be given, by its words: `status`, `metadata check`. */
export function verbsOfProgram(): ReadonlyMap<string, Command> {
  const verbs = new Map<string, Command>();
  const add = (command: Command, words: string): void => {
    if (command.commands.length === 0) verbs.set(words, command);
    for (const below of command.commands) add(below, `${words} ${below.name()}`);
  };
  const program = buildProgram({ print: () => undefined, warn: () => undefined });
  for (const command of program.commands) add(command, command.name());
  return verbs;
}

/** What `dm-remap help VERB` prints. */
export function helpOf(command: Command): string {
  let text = '';
  command.configureOutput({
    writeOut: (piece) => {
      text += piece;
    },
    getOutHelpWidth: () => helpWidth,
  });
  command.outputHelp();
  return text.trimEnd();
}

/** The page with every box as the program has it now. Boxes that are missing are not made: their prose is missing too. */
export function referenceWithHelp(page: string): string {
  const verbs = verbsOfProgram();
  return page.replace(/<!-- help: ([a-z -]+) -->\n.*?<!-- \/help -->/gs, (_, words: string) => {
    const command = verbs.get(words);
    const help = command === undefined ? 'no such verb' : helpOf(command);
    return `<!-- help: ${words} -->\n\`\`\`text\n${help}\n\`\`\`\n<!-- /help -->`;
  });
}

export function readReference(): string {
  return readFileSync(referencePath, 'utf8');
}
