import { DeviceError } from '../../../src/block/device-error.ts';

/** What is fuzzed, once it is ready. One input after the other. */
export interface FuzzSession {
  /** Resolves when everything held that must hold; rejects with what did not. Errors that may be are its own affair. */
  run(input: Buffer): Promise<void>;
  close?(): Promise<void>;
}

/** One thing that takes bytes from outside. */
export interface FuzzTarget {
  /** A word: `--target` and the name of its corpus folder. */
  readonly name: string;
  /** One clause: what is fuzzed, and what must hold. */
  readonly what: string;
  /** Longer inputs are cut. */
  readonly inputBytesMax: number;
  /** Executions between two looks at the coverage, which costs about a millisecond: few for slow targets. */
  readonly executionsPerLook: number;
  /** Executions of new mutations in CI. */
  readonly executionsInTests: number;
  /** Inputs to begin with, beside those of the corpus folder. */
  readonly seeds: () => readonly Buffer[];
  /** What a mutation may put in, whole. */
  readonly words: readonly Buffer[];
  readonly open: () => Promise<FuzzSession>;
}

/** Something that must hold did not. */
export class Violation extends Error {
  override readonly name = 'Violation';
}

export function must(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Violation(message);
}

export function textWords(...words: readonly string[]): readonly Buffer[] {
  return words.map((word) => Buffer.from(word));
}

/** The result; undefined for an error that `isExpected`. Any other is thrown on: a bug. */
export async function expecting<T>(
  promise: Promise<T>,
  isExpected: (error: unknown) => boolean,
): Promise<T | undefined> {
  try {
    return await promise;
  } catch (error) {
    if (!isExpected(error)) throw error;
    mustBeOneLine(error);
    return undefined;
  }
}

/** A device was asked for what it does not have: whoever asked went outside its bounds. */
export function isOutOfBounds(error: unknown): boolean {
  return error instanceof DeviceError && error.kind === 'invalid';
}

/** Bytes of a message to people at most, with what it quotes. */
const messageLengthMax = 16_384;

/** Every message is one line, and no input makes a book of it. */
export function mustBeOneLine(error: unknown): void {
  const text = error instanceof Error ? error.message : '';
  must(text !== '' && !text.includes('\n'), `an error whose message is no line: ${JSON.stringify(text)}`);
  must(text.length <= messageLengthMax, `a message of ${text.length} characters`);
}
