import { type BlockDevice, sectorBytes } from '../../../src/block/block-device.ts';
import type { Change } from '../../nbd/judged-sectors.ts';
import type { Stack } from '../../remap/remap-stack.ts';
import type { ClientKind, ScriptedRequest } from './scripted-client.ts';

export const diskSectors = 128;
export const sectorsPerBlock = 8;
export const blockBytes: number = sectorsPerBlock * sectorBytes;
export const diskBytes: number = diskSectors * sectorBytes;

export const Command = { read: 0, write: 1, flush: 3, trim: 4, writeZeroes: 6 } as const;
export const Flag = { fua: 1, fastZero: 16 } as const;

const ranged: readonly number[] = [Command.read, Command.write, Command.trim, Command.writeZeroes];

/** Whether a request is well-formed, by the protocol's page and by what the device offers. */
export function isWellFormed(
  { capabilities }: BlockDevice,
  { inSectors }: ClientKind,
  { command, flags, offset, length }: ScriptedRequest,
): boolean {
  const fua = capabilities.fua ? Flag.fua : 0;
  if (command === Command.flush) return (flags & ~fua) === 0 && offset === 0 && length === 0;
  const fast = capabilities.fastZeroes ? Flag.fastZero : 0;
  const known = command === Command.writeZeroes ? fua | fast : fua;
  if (!ranged.includes(command) || (flags & ~known) !== 0) return false;
  const unit = inSectors ? sectorBytes : blockBytes;
  const isInside = length > 0 && offset + length <= diskBytes;
  return isInside && offset % unit === 0 && length % unit === 0;
}

/** The blocks of a main that fails reads or writes of some, and which of them hold what nobody can read. */
export class BadBlocks {
  readonly #badForReads: number;
  /** Until somebody writes them as a whole. */
  readonly #dead = new Set<number>();

  /** A bit for each second block: its first sector fails writes, or reads. */
  constructor({ mainDisk }: Stack, badForWrites: number, badForReads: number) {
    this.#badForReads = badForReads;
    for (let at = 0; at < 8; at += 1) {
      const [reads, writes] = [badForReads, badForWrites].map((bits) => (bits & (1 << at)) !== 0);
      if (!reads && !writes) continue;
      const on = reads && writes ? 'both' : reads ? 'read' : 'write';
      mainDisk.faults.addBadSectors(2 * at * sectorsPerBlock, 1, { on });
      if (reads) this.#dead.add(2 * at);
    }
  }

  /** It writes a part of a block that cannot be read, or reads one. */
  dooms({ command, offset, length }: ScriptedRequest): boolean {
    if (command === Command.trim || command === Command.flush) return false;
    const end = offset + length;
    for (let block = Math.floor(offset / blockBytes); block * blockBytes < end; block += 1) {
      if (!this.#dead.has(block)) continue;
      const isWhole = offset <= block * blockBytes && end >= (block + 1) * blockBytes;
      if (command === Command.read || !isWhole) return true;
    }
    return false;
  }

  /** It touches a block that cannot be read, or could not. */
  touchedBy({ offset, length }: ScriptedRequest): boolean {
    const last = Math.floor((offset + length - 1) / blockBytes);
    for (let block = Math.floor(offset / blockBytes); block <= last; block += 1) {
      if (block % 2 === 0 && (this.#badForReads & (1 << (block / 2))) !== 0) return true;
    }
    return false;
  }

  /** What was written as a whole may be read from now on. */
  revive({ first, count }: Change): void {
    const last = Math.floor((first + count) / sectorsPerBlock);
    for (let block = Math.ceil(first / sectorsPerBlock); block < last; block += 1) this.#dead.delete(block);
  }
}
