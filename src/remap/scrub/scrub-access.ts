import type { RequestGate } from '../../block/request-gate.ts';
import { StateCause } from '../../metadata/mapping-state.ts';
import { moveFromMain } from '../move/move-from-main.ts';
import type { Policies } from '../policies.ts';
import type { RemapCore } from '../remap-core.ts';
import { planPieces } from '../request/request-plan.ts';
import { type ScrubFinding, ScrubRead } from './scrub-read.ts';

/** A part of the device whose bytes lie in one place; all in bytes of the virtual device. */
export interface ScrubPart {
  readonly place: 'main' | 'spare';
  readonly offset: number;
  readonly length: number;
}

/**
 * Why reading on would say nothing now.
 *
 * - `main`, `spare`  main, or one of the spares, does not answer
 * - `metadata`       what is found could not be recorded
 * - `suspended`      the device's disks are left alone (R30)
 * - `storm`          main fails everything it is given to write (R16)
 */
export type ScrubTrouble = 'main' | 'spare' | 'metadata' | 'suspended' | 'storm';

/**
 * Of the largest piece for moves so much stays free for them: a scrub waits where it would take more. Its owner makes that
 * reserve larger by what a read takes, so that moves have no less than without a scrub.
 */
const keptForMoves = 0.5;

/** What a scrub may do with a device: read each part where it lies, as a client would, and move what is slow. */
export class ScrubAccess {
  readonly sizeBytes: number;
  readonly granuleBytes: number;
  readonly #core: RemapCore;
  readonly #gate: RequestGate;
  readonly #name: string;

  constructor(core: RemapCore, gate: RequestGate, name: string) {
    this.#core = core;
    this.#gate = gate;
    this.#name = name;
    this.sizeBytes = core.parts.sizeBytes;
    this.granuleBytes = core.parts.granuleBytes;
  }

  get policies(): Policies {
    return this.#core.policies;
  }

  /** Requests of others that are under way; the scrub has none between its reads. */
  get othersInFlight(): number {
    return this.#gate.inFlight;
  }

  /** The first place of a range, up to where it ends; lost sectors are not asked for again (R4, R18): they have no part. */
  next(offset: number, length: number): { readonly endBytes: number; readonly part: ScrubPart | undefined } {
    const piece = planPieces(this.#core.table, this.granuleBytes, offset, length, 1)[0];
    if (piece === undefined) return { endBytes: offset + length, part: undefined };
    const endBytes = piece.offset + piece.length;
    if (piece.place === 'lost') return { endBytes, part: undefined };
    return { endBytes, part: { place: piece.place, offset: piece.offset, length: piece.length } };
  }

  trouble(): ScrubTrouble | undefined {
    const { paths, metadataPath } = this.#core;
    if (this.#gate.suspended) return 'suspended';
    if (paths.mainReads.failed) return 'main';
    if (paths.sparesAway.length > 0) return 'spare';
    if (paths.storm.raging) return 'storm';
    return metadataPath.failed ? 'metadata' : undefined;
  }

  /** True when what was in the way is not any more; asks a disk that is away, no more often than for clients (R17). */
  async whenWorking(trouble: ScrubTrouble): Promise<boolean> {
    const { paths, metadataPath } = this.#core;
    if (trouble === 'main') return await paths.mainReads.whenWorking();
    if (trouble === 'spare') return await paths.of(this.#core.spareToWaitFor, 'read').whenWorking();
    if (trouble === 'metadata') return await metadataPath.whenWorking();
    return trouble === 'suspended' && (await this.#gate.reopened());
  }

  /** Whether the home spare answers; known from then on (R5). What is only worth knowing is not written to one that does not. */
  async spareWorks(): Promise<boolean> {
    return !this.#core.paths.spare.failed && (await this.#core.paths.judge('spare', 'read'));
  }

  /** Bytes of the largest read that there is memory for. */
  largestReadBytes(wantedBytes: number): number {
    const most = this.#core.parts.arena.largestPiece('remap') * keptForMoves;
    return Math.max(this.granuleBytes, Math.min(wantedBytes, most));
  }

  /**
   * Memory for one read, of none that clients have (R36); undefined while moves need theirs. Nobody waits for it, and who has it
   * may wait for a move's piece: those who have those wait for none (I14).
   */
  borrow(lengthBytes: number): Uint8Array | undefined {
    const { arena } = this.#core.parts;
    const left = arena.freeBytes('remap') - lengthBytes;
    return left < arena.largestPiece('remap') * keptForMoves ? undefined : arena.take(lengthBytes, 'remap');
  }

  giveBack(memory: Uint8Array): void {
    this.#core.parts.arena.release(memory);
  }

  /** Reads one part, whatever has become of it meanwhile. Undefined when the device has closed. */
  async read(part: ScrubPart, target: Uint8Array): Promise<ScrubFinding | undefined> {
    return await this.#admitted(() => new ScrubRead(this.#core, target, part.offset).finding(this.#name));
  }

  /** Moves a granule that main gives too slowly, and keeps out of the reserve (R31). False when it stays where it is. */
  async moveSlow(granule: number): Promise<boolean> {
    const moved = await this.#admitted(() => moveFromMain(this.#core, granule, StateCause.slowRead, false));
    return moved?.outcome === 'moved';
  }

  /** As a client's request is: closing and suspending wait for it. */
  async #admitted<T>(work: () => Promise<T>): Promise<T | undefined> {
    while (!this.#gate.enter()) {
      if (!(await this.#gate.reopened())) return undefined;
    }
    try {
      return await work();
    } finally {
      this.#gate.leave();
    }
  }
}
