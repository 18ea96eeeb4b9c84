import { type HostileOutcome, HostileRun } from './hostile-run.ts';
import type { HostileTarget } from './hostile-target.ts';

/** A conversation that went wrong; its message says how to have it again. */
export class HostileFailure extends Error {
  override readonly name = 'HostileFailure';
}

export interface MutationOptions {
  readonly seed: number;
  /** The first conversation. */
  readonly from: number;
  /** Mutated messages that the server is to read. */
  readonly messages: number;
  readonly onConversation?: (run: HostileRun) => void;
}

/** Conversations until enough mutated messages were read. Throws `HostileFailure`. */
export async function runMutations(target: HostileTarget, options: MutationOptions): Promise<HostileOutcome> {
  const { seed, from, messages, onConversation } = options;
  const run = new HostileRun(target);
  for (let at = from; run.outcome.mutatedMessages < messages; at += 1) {
    try {
      await run.converse(`${seed}/${at}`);
    } catch (error) {
      const again = `npm run hostile -- --seed ${seed} --from ${at} --messages 1`;
      throw new HostileFailure(`conversation ${at} of seed ${seed}; again: ${again}`, { cause: error });
    }
    onConversation?.(run);
  }
  return run.outcome;
}

export interface BoundaryOptions {
  readonly seed: number;
  readonly conversations: number;
  readonly requests: number;
}

/**
 * Good conversations, each cut at each of its bytes: sent in two pieces; ended there, which the server must take as the end; and
 * broken off there. Whole ones a byte at a time, too. Throws `HostileFailure`.
 */
export async function runBoundaries(
  target: HostileTarget,
  options: BoundaryOptions,
): Promise<HostileOutcome> {
  const run = new HostileRun(target);
  for (let at = 0; at < options.conversations; at += 1) {
    const seed = `boundaries/${options.seed}/${at}`;
    const bytes = run.goodBytes(seed, options.requests);
    const play = async (pieces: readonly Buffer[], end: 'finish' | 'abort', cut: number): Promise<void> => {
      try {
        await run.play(pieces, end);
      } catch (error) {
        throw new HostileFailure(`${seed}: ${pieces.length} pieces, cut at ${cut}, ${end}`, { cause: error });
      }
    };
    await play([bytes], 'finish', 0);
    await play(
      [...bytes].map((byte) => Buffer.from([byte])),
      'finish',
      0,
    );
    for (let cut = 1; cut < bytes.length; cut += 1) {
      await play([bytes.subarray(0, cut), bytes.subarray(cut)], 'finish', cut);
      await play([bytes.subarray(0, cut)], 'finish', cut);
      await play([bytes.subarray(0, cut)], 'abort', cut);
    }
  }
  return run.outcome;
}
