import { mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import process from 'node:process';
import * as z from 'zod/mini';
import {
  formatIdentity,
  identityOfProcess,
  isRunning,
  parseIdentity,
} from '../../device/process/process-identity.ts';
import { SetupError } from '../../device/setup-error.ts';
import type { StoredPosition } from './alert-position.ts';

/** What a monitor remembers over its own end. */
export interface MonitorMemory {
  /** `PID TICKS BOOT-ID` of the monitor that writes the file; empty after it has ended. */
  readonly owner: string;
  /** By the name of the receiver. */
  readonly receivers: Readonly<Record<string, StoredPosition>>;
}

const shape: z.ZodMiniType<MonitorMemory> = z.object({
  owner: z.string(),
  receivers: z.record(
    z.string(),
    z.record(z.string(), z.object({ sequence: z.number(), orderMs: z.number() })),
  ),
});

/** Bytes that are read of it; a larger one is none of ours. */
const fileBytesMax = 1_048_576;

/** The file in which a monitor keeps how far it has told. One monitor at a time: two would each tell what the other has not. */
export class MonitorFile {
  readonly path: string;
  readonly #complain: (line: string) => void;
  #complained = false;

  constructor(path: string, complain: (line: string) => void) {
    this.path = path;
    this.#complain = complain;
  }

  /**
   * What the last monitor left; undefined where there was none, or where nobody can read it. Throws `SetupError` busy while another
   * one runs, refused for a file of somebody else.
   */
  read(): MonitorMemory | undefined {
    const text = textOf(this.path);
    if (text === undefined) return undefined;
    const parsed = shape.safeParse(parseJson(text));
    if (!parsed.success) {
      throw new SetupError(
        'refused',
        `${this.path}: is not what a monitor keeps: move it away, or name another file with --state`,
      );
    }
    const owner = parseIdentity(parsed.data.owner);
    if (owner !== undefined && owner.pid !== process.pid && isRunning(owner)) {
      throw new SetupError(
        'busy',
        `process ${owner.pid} is a monitor already: end it, or give this one a file of its own with --state`,
      );
    }
    return parsed.data;
  }

  /** Complains once where it cannot: then what comes at a restart may be told twice. */
  write(receivers: MonitorMemory['receivers'], isLast = false): void {
    const identity = isLast ? undefined : identityOfProcess(process.pid);
    const memory: MonitorMemory = {
      owner: identity === undefined ? '' : formatIdentity(identity),
      receivers,
    };
    const unfinished = `${this.path}.new`;
    try {
      mkdirSync(dirname(this.path), { recursive: true, mode: 0o700 });
      // Of an earlier one that was killed; what somebody else put there is not followed.
      rmSync(unfinished, { force: true });
      writeFileSync(unfinished, `${JSON.stringify(memory)}\n`, { mode: 0o600, flag: 'wx' });
      renameSync(unfinished, this.path);
    } catch (error) {
      if (!(error instanceof Error) || !('code' in error)) throw error;
      rmSync(unfinished, { force: true });
      if (!this.#complained) {
        this.#complain(`${error.message}: after a restart alerts may be told twice, or be missing`);
      }
      this.#complained = true;
    }
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').slice(0, fileBytesMax);
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return undefined;
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
