import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import process from 'node:process';
import * as z from 'zod/mini';

/** What a checker saw of one device the last time. */
export interface Seen {
  readonly uuid: string;
  /** Granules on the spare, and slots of it that proved bad. */
  readonly moved: number;
  /** When `moved` was last seen to grow; 0 for never, or acknowledged. */
  readonly grewUnixMs: number;
  /** What it was before it grew. */
  readonly grewFrom: number;
}

/** By the name of the device. */
export type CheckMemory = Readonly<Record<string, Seen>>;

const shape: z.ZodMiniType<{ readonly devices: CheckMemory }> = z.object({
  devices: z.record(
    z.string(),
    z.object({ uuid: z.string(), moved: z.number(), grewUnixMs: z.number(), grewFrom: z.number() }),
  ),
});

/** What the last check left. Empty where there was none; one that is damaged is none. Throws the system's error. */
export function readCheckMemory(path: string): CheckMemory {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return {};
    throw error;
  }
  const parsed = shape.safeParse(parseJson(text));
  return parsed.success ? parsed.data.devices : {};
}

/** Throws the system's error. */
export function writeCheckMemory(path: string, devices: CheckMemory): void {
  const unfinished = `${path}.${process.pid}.new`;
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
    // Of an earlier one that was killed; what somebody else put there is not followed.
    rmSync(unfinished, { force: true });
    writeFileSync(unfinished, `${JSON.stringify({ devices })}\n`, { mode: 0o600, flag: 'wx' });
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
