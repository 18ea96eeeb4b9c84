import type { RemapCore } from './remap-core.ts';
import { planPieces } from './request/request-plan.ts';

/**
 * Where a request is that the device has not answered:
 *
 * - `suspended`         it was not admitted (R30)
 * - `at-main`           a disk has it; if it is in parts on both, main is named
 * - `at-spare`
 * - `flushing`          it is a flush, or waits for one
 * - `committing`        a record of its granules is being stored
 * - `waiting-for-lock`  its granules are being moved, by it or by another
 * - `waiting-for-path`  its disk does not answer and is asked again and again (R17)
 * - `deciding`          between two of these: narrowing, probing, waiting for memory of a move
 */
export type RemapPhase =
  | 'suspended'
  | 'at-main'
  | 'at-spare'
  | 'flushing'
  | 'committing'
  | 'waiting-for-lock'
  | 'waiting-for-path'
  | 'deciding';

/** What is asked: one request, and whether requests wait at the gate. */
export interface PhaseQuestion {
  readonly kind: 'read' | 'write' | 'flush';
  readonly offset: number;
  readonly length: number;
  readonly gateHolds: boolean;
}

/** Looks where it is, in the queues themselves (I22): a request that is not stuck pays nothing for this. */
export function phaseOf(core: RemapCore, question: PhaseQuestion): RemapPhase {
  return question.kind === 'flush' ? flushPhase(core, question) : transferPhase(core, question);
}

function flushPhase({ mainFlush, spares, paths }: RemapCore, { gateHolds }: PhaseQuestion): RemapPhase {
  if (mainFlush.running || spares.all.some(({ flush }) => flush.running)) return 'flushing';
  if (gateHolds) return 'suspended';
  return paths.waiting > 0 ? 'waiting-for-path' : 'deciding';
}

function transferPhase(core: RemapCore, { kind, offset, length, gateHolds }: PhaseQuestion): RemapPhase {
  const { inFlight, locks, paths, parts, metadataPath, mainFlush, spares } = core;
  const first = Math.floor(offset / parts.granuleBytes);
  const last = Math.floor((offset + length - 1) / parts.granuleBytes);
  if (inFlight.overlaps(first, last)) return placeOf(core, offset, length);
  if (core.isCommitting(first, last) || metadataPath.waiting > 0) return 'committing';
  if (locks.blocked(first, last)) return 'waiting-for-lock';
  if (gateHolds) return 'suspended';
  const main = kind === 'read' ? paths.mainReads : paths.mainWrites;
  const spareWaited = spares.all.some(
    ({ place }) => paths.of(place, kind === 'read' ? 'read' : 'write').waiting > 0,
  );
  if (main.waiting > 0 || spareWaited) return 'waiting-for-path';
  return mainFlush.running || spares.all.some(({ flush }) => flush.running) ? 'flushing' : 'deciding';
}

/** Where its bytes are now is where it was sent: nothing moves under a ticket (R1). */
function placeOf({ table, parts }: RemapCore, offset: number, length: number): RemapPhase {
  const pieces = planPieces(table, parts.granuleBytes, offset, length);
  const isOnSpare =
    pieces.every((piece) => piece.place !== 'main') && pieces.some((piece) => piece.place === 'spare');
  return isOnSpare ? 'at-spare' : 'at-main';
}
