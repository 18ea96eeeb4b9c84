import type { ArenaMemory } from './arena-memory.ts';
import { EngineRefusal } from './engine-refusal.ts';
import { type EngineChoice, engineChoices, type IoEngine } from './io-engine.ts';
import { NodeEngine } from './node-engine.ts';
import { nodeSockets, ringSockets, type StreamSockets } from './stream-sockets.ts';
import { threadPoolVariable, threadPoolWanted } from './thread-pool.ts';
import { openRing, UringEngine } from './uring-engine.ts';

/** Means the same as `--io`, which goes before it. */
export const engineVariable = 'DM_REMAP_IO';

export interface OpenedEngine {
  readonly engine: IoEngine;
  readonly sockets: StreamSockets;
  /** Why it is not io_uring, where nobody asked for another one; one clause. */
  readonly reason: string | undefined;
}

export interface EngineWish {
  /** What the environment says, by default; and where that says nothing, io_uring where it is to be had. */
  readonly io?: EngineChoice;
  readonly spinUs?: number;
}

export function isEngineChoice(text: string): text is EngineChoice {
  return engineChoices.some((choice) => choice === text);
}

/** What `DM_REMAP_IO` asks for; undefined when it is not set. Throws `EngineRefusal` for what is no engine. */
export function engineOfEnvironment(environment: NodeJS.ProcessEnv = process.env): EngineChoice | undefined {
  const text = environment[engineVariable];
  if (text === undefined || text === '') return undefined;
  if (isEngineChoice(text)) return text;
  throw new EngineRefusal(
    'ENGINE_UNKNOWN',
    `${engineVariable} is ${JSON.stringify(text)}; ${engineChoices.join(' or ')} was expected`,
    undefined,
  );
}

/** @throws EngineRefusal where io_uring was asked for and is not to be had. */
export function openEngine(memory: ArenaMemory, wish: EngineWish = {}): OpenedEngine {
  const io = wish.io ?? engineOfEnvironment();
  if (io === 'node') return openNode(memory, undefined);
  try {
    const { spinUs } = wish;
    const engine = new UringEngine({ memory, ...(spinUs === undefined ? {} : { spinUs }) });
    return { engine, sockets: ringSockets(engine), reason: undefined };
  } catch (error) {
    if (!(error instanceof EngineRefusal)) throw error;
    if (io === undefined) return openNode(memory, error.message);
    throw new EngineRefusal(error.code, `${error.message}; --io=node works without it`, error);
  }
}

/**
 * What the environment of a process has to have before it starts, so that the engine that `io` leads to can do its work; empty
 * when nothing is missing. Who set the number of threads himself is left alone.
 */
export function environmentForEngine(
  io: EngineChoice | undefined,
  environment: NodeJS.ProcessEnv = process.env,
): Readonly<Record<string, string>> {
  if (environment[threadPoolVariable] !== undefined) return {};
  const text = io ?? environment[engineVariable] ?? '';
  // What is no engine is refused where it is opened.
  if (text === 'uring' || (text !== 'node' && isRingAllowed())) return {};
  return { [threadPoolVariable]: String(threadPoolWanted) };
}

function openNode(memory: ArenaMemory, reason: string | undefined): OpenedEngine {
  return { engine: new NodeEngine({ memory }), sockets: nodeSockets(memory.arena), reason };
}

/** The smallest ring there is: a few microseconds. */
function isRingAllowed(): boolean {
  try {
    openRing(1, 1).close();
    return true;
  } catch (error) {
    if (error instanceof EngineRefusal) return false;
    throw error;
  }
}
