// `npm start`: a failing disk, kept in service, on files that this makes and removes itself.
//
//   npm start -- --sabotage    one byte of the disk is changed on the way, to see that the comparison notices

import { statfsSync } from 'node:fs';
import { tmpdir } from 'node:os';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { Narrator } from './narrator.ts';
import { Interrupted, Stage, StoryFailure } from './stage.ts';
import { tellStory } from './story.ts';

const neededBytes = 900 * 1024 * 1024;

/** Whether `--sabotage` is on the command line; undefined, and said, when something else is. */
function readSabotage(): boolean | undefined {
  try {
    return parseArgs({ options: { sabotage: { type: 'boolean', default: false } } }).values.sabotage;
  } catch (error) {
    console.error(`demo: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}

async function main(): Promise<number> {
  const sabotage = readSabotage();
  if (sabotage === undefined) return 2;
  const { NO_COLOR: noColor } = process.env;
  const coloured = process.stdout.isTTY && (noColor === undefined || noColor === '');
  const narrator = new Narrator(process.stdout, { coloured });
  const folder = tmpdir();
  const { bavail, bsize } = statfsSync(folder);
  if (bavail * bsize < neededBytes) {
    narrator.alarm(
      `${folder} has ${Math.floor((bavail * bsize) / 1024 ** 2)} MiB free, the demonstration needs 900;`,
      'name another folder: TMPDIR=/var/tmp npm start',
    );
    return 1;
  }
  const startMs = performance.now();
  const stage = new Stage(narrator);
  const interrupt = (): void => stage.interrupt();
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, interrupt);
  // Somebody who stops reading (npm start | head) has seen enough.
  process.stdout.on('error', interrupt);
  narrator.say(
    'dm-remap keeps a failing disk in service: bad sectors move to a spare.',
    `Everything happens in ${stage.folder} and is removed at the end.`,
  );
  try {
    await tellStory(stage, { sabotage });
    narrator.say(
      '',
      `Done in ${((performance.now() - startMs) / 1000).toFixed(0)} s. Your own disk: README.md, "Your first real disk".`,
    );
    return 0;
  } catch (error) {
    if (error instanceof Interrupted) return 130;
    if (!(error instanceof StoryFailure)) throw error;
    narrator.alarm(...error.lines);
    return 1;
  } finally {
    stage.close();
  }
}

process.exitCode = await main();
