import { heapFlags } from '../device/process/heap-flags.ts';
import { restartAsIoFlusher } from '../device/process/io-flusher.ts';
import { environmentForLooking, looksAtDisks } from '../device/process/prepare-look.ts';
import { environmentForMemory } from '../device/process/process-environment.ts';
import { environmentForEngine, isEngineChoice } from '../io/choose-engine.ts';
import type { EngineChoice } from '../io/io-engine.ts';

const flag = '--io';

/** What `--io` says on a command line, before it is parsed; what it must not say is refused by the parser. */
function engineOfWords(words: readonly string[]): EngineChoice | undefined {
  let choice: EngineChoice | undefined;
  for (const [index, word] of words.entries()) {
    const value =
      word === flag ? words[index + 1] : word.startsWith(`${flag}=`) ? word.slice(flag.length + 1) : '';
    if (value !== undefined && isEngineChoice(value)) choice = value;
  }
  return choice;
}

/** What a process that serves a disk has to be from its very start: begun again with it, if it is not. */
export function prepareProcess(words: readonly string[]): void {
  const environment = {
    ...environmentForMemory(),
    ...environmentForEngine(engineOfWords(words)),
    ...(looksAtDisks(words) ? environmentForLooking() : {}),
  };
  restartAsIoFlusher(environment, heapFlags());
}
