import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as z from 'zod/mini';
import { readText } from '../../io/system-files.ts';
import type { Smartctl, SmartctlEnd } from './smartctl.ts';
import type { WholeDisk } from './whole-disks.ts';

/**
 * A disk gives a sector up after so many tenths of a second: well before the kernel's 30 s, after which the kernel resets the
 * disk and everything that was under way on it. What a RAID disk does by itself.
 */
export const recoveryDeciseconds = 70;
/** A disk that cannot be told tries for two to three minutes: so long the kernel is to wait for it. */
export const kernelTimeoutSeconds = 180;

const recoveryOutput = z.object({
  ata_sct_erc: z.optional(
    z.object({
      read: z.object({ enabled: z.boolean(), deciseconds: z.optional(z.int()) }),
      write: z.object({ enabled: z.boolean(), deciseconds: z.optional(z.int()) }),
    }),
  ),
});

/**
 * Sets disks up for recovering errors, each once: SCT Error Recovery Control where the disk has it, else the kernel's time-out
 * for it. A disk forgets the first when its power goes, so it is set at each start; neither is undone, for others may use the
 * disk by then. What cannot be done is a note.
 */
export class DiskTuning {
  readonly #smartctl: Smartctl;
  /** By disk: what was done. */
  readonly #notes = new Map<string, string | undefined>();

  constructor(smartctl: Smartctl) {
    this.#smartctl = smartctl;
  }

  /** Whole sentences about all disks so far. Never rejects. */
  async tune(disks: readonly WholeDisk[]): Promise<readonly string[]> {
    for (const disk of disks) {
      if (this.#notes.has(disk.directory)) continue;
      this.#notes.set(disk.directory, undefined);
      this.#notes.set(disk.directory, await this.#tuneDisk(disk));
    }
    return [...this.#notes.values()].filter((note) => note !== undefined);
  }

  /** Undefined where there is nothing to set: virtual disks, NVMe, and what is an image file in the end. */
  async #tuneDisk({ role, device, directory, underFile }: WholeDisk): Promise<string | undefined> {
    const timeoutPath = join(directory, 'device', 'timeout');
    const seconds = Number(await readText(timeoutPath));
    if (underFile || !Number.isSafeInteger(seconds) || seconds <= 0) return undefined;
    const recovery = await this.#setRecovery(device);
    if (recovery.kind === 'set') {
      return `${role}, ${device}: gives up a sector after ${recovery.deciseconds / 10} s (SCT ERC${recovery.changed ? ', set now' : ''})`;
    }
    const why = `${role}, ${device}: cannot be told when to give up a sector (${recovery.why})`;
    if (seconds >= kernelTimeoutSeconds) return `${why}; the kernel waits ${seconds} s for it`;
    try {
      await writeFile(timeoutPath, `${kernelTimeoutSeconds}\n`);
    } catch (error) {
      const code = error instanceof Error && 'code' in error ? String(error.code) : String(error);
      return `${why}; the kernel resets it after ${seconds} s, and that could not be changed (${code})`;
    }
    return `${why}; the kernel waits ${kernelTimeoutSeconds} s for it now, was ${seconds}`;
  }

  async #setRecovery(
    device: string,
  ): Promise<
    | { readonly kind: 'set'; readonly deciseconds: number; readonly changed: boolean }
    | { readonly kind: 'cannot'; readonly why: string }
  > {
    const found = await this.#smartctl.run(device, ['--json=c', '--log=scterc']);
    if (found.kind === 'not-installed') return { kind: 'cannot', why: 'smartctl is not installed' };
    if (found.kind === 'no-answer') return { kind: 'cannot', why: found.why };
    const deciseconds = recoveryOf(found);
    if (deciseconds === undefined) return { kind: 'cannot', why: 'no SCT ERC' };
    if (deciseconds <= recoveryDeciseconds) return { kind: 'set', deciseconds, changed: false };
    const words = `--log=scterc,${recoveryDeciseconds},${recoveryDeciseconds}`;
    await this.#smartctl.run(device, ['--json=c', words]);
    // Not believed before it is read back: some disks take the command and do nothing.
    const now = recoveryOf(await this.#smartctl.run(device, ['--json=c', '--log=scterc']));
    return now !== undefined && now <= recoveryDeciseconds
      ? { kind: 'set', deciseconds: now, changed: true }
      : { kind: 'cannot', why: 'it does not take SCT ERC' };
  }
}

/** After how many tenths of a second the disk gives up, the longer of reading and writing; undefined where it cannot be told. */
function recoveryOf(end: SmartctlEnd): number | undefined {
  if (end.kind !== 'ended') return undefined;
  const parsed = recoveryOutput.safeParse(parseJson(end.output));
  const recovery = parsed.success ? parsed.data.ata_sct_erc : undefined;
  if (recovery === undefined) return undefined;
  const { read, write } = recovery;
  return Math.max(...[read, write].map(({ enabled, deciseconds }) => (enabled ? (deciseconds ?? 0) : never)));
}

/** Disabled: it tries for as long as it likes. */
const never = Number.POSITIVE_INFINITY;

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
