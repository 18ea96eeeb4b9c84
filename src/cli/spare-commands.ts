import type { Command } from 'commander';
import type { Terminal } from './terminal.ts';

/** The commands about a spare that nobody serves. */
export function addSpareCommands(program: Command, terminal: Terminal): void {
  addAdopt(program, terminal);
  addAdoptMain(program, terminal);
}

function addAdopt(program: Command, terminal: Terminal): void {
  program
    .command('adopt')
    .description('move a device to a copy of its spare, made with dd or restored from a backup')
    .summary('move a device to a copy of its spare')
    .argument('<SPARE>')
    .option('--force', 'also an older copy; what was acknowledged since is lost')
    .option('--json', 'as JSON')
    .action(async (path, options) => {
      await (await import('./adopt.ts')).runAdopt(terminal, path, options);
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
    .option('--json', 'as JSON')
    .action(async (path, options) => {
      await (await import('./adopt-main.ts')).runAdoptMain(terminal, path, options);
    });
}
