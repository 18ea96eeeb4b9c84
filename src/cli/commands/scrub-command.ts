import type { Command } from 'commander';
import type { Terminal } from '../terminal.ts';
import { examples } from './examples.ts';

/** `scrub`: reading everything before somebody needs it. */
export function addScrub(program: Command, terminal: Terminal): void {
  program
    .command('scrub')
    .description(
      'read all of main, the slots and the metadata in the background: bad sectors are found and saved before somebody needs them',
    )
    .summary('find bad sectors before somebody needs them')
    .argument('<NAME>')
    .argument('[ACTION]', 'status, start, pause, resume or stop', 'status')
    .option('--rate <MIB>', 'read at most so many MiB a second, 0 for no limit; stays so (policy scrub-rate)')
    .option(
      '--every <DAYS>',
      'begin the next one so many days after the last, 0 for never (policy scrub-every)',
    )
    .option(
      '--wait',
      'until it has ended or is paused, with a progress bar; it goes on when this is interrupted',
    )
    .option('--json', 'as JSON')
    .addHelpText(
      'after',
      examples(
        'scrub old-disk start --wait',
        'scrub old-disk',
        'scrub old-disk pause',
        'scrub old-disk start --rate 50 --every 7',
      ),
    )
    .action(async (name, action, options) => {
      await (await import('../verbs/scrub.ts')).runScrub(terminal, name, action, options);
    });
}
