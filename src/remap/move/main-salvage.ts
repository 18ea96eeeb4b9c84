import { apart } from '../../block/block-device.ts';
import type { FailedRange } from '../../block/device-error.ts';
import { Errno } from '../../block/errno.ts';
import type { RemapCore } from '../remap-core.ts';
import { zeroUnwritten } from '../request/fresh-read.ts';
import { type ByteRange, type RangeFailure, waitingFor } from '../request/request-rounds.ts';
import { freshZeros } from '../table/fresh-map.ts';
import type { GranuleState } from '../table/granule-table.ts';
import { recordOf } from '../table/live-table.ts';
import { sectorMask } from '../table/sector-mask.ts';
import { relocationBuffers } from './move-memory.ts';
import { moveSaved, withMarks } from './salvage-block.ts';
import { tryOnce } from './try-often.ts';

/** A range inside one granule, bytes of the virtual device. */
export interface GranulePart extends ByteRange {
  readonly granule: number;
}

/** What main gave of a part of one granule when it was asked again. Sector maps, and the failures in ascending order. */
interface Findings {
  failed: RangeFailure[];
  unreadable: number;
  /** Given, after a definite error of a request of its own: the sector is bad, and may not be given next time (R17). */
  shaky: number;
  undecided: number;
}

/**
 * Asks main again for a part of one granule, under its lock (R18): whole, then block by block, each twice. What comes is the
 * reader's; what is really bad of it moves to the spare; what does not come is marked. What the time was too short for goes
 * to the salvager, and is an error without a mark until then; other readers wait for his attempt and make none.
 */
export async function salvageFromMain(
  core: RemapCore,
  part: GranulePart,
  state: GranuleState,
  target: Uint8Array,
  buffer: Uint8Array,
  deadlineMs: number,
): Promise<RangeFailure[]> {
  if (core.salvager.has(part.granule)) return [undecidedRange(part.offset, part.length)];
  const findings = await askAgain(core, part, target, deadlineMs);
  const probeMemory = buffer.subarray(0, core.parts.granuleBytes);
  const works = await confirmSuspects(core, part, findings, target, probeMemory);
  const { failed, unreadable, undecided } = findings;
  if (undecided !== 0) core.salvager.add(part.granule, undecided);
  if (!works) {
    core.paths.noteFailed('main', 'read');
    return failed.map((range) => (range.kind === 'suspect' ? waitingFor('main', range) : range));
  }
  if (core.fresh?.isUnwritten(part.granule) === true) {
    if (unreadable === 0) return failed;
    return await zeroUnwritten(core, part, state, unreadable, target, failed);
  }
  // A mark would say that the sector was never written, as the others of its granule (R13).
  if (freshZeros(state) === 0) await keepFindings(core, part, state, target, buffer, findings);
  return failed;
}

async function askAgain(
  core: RemapCore,
  part: GranulePart,
  target: Uint8Array,
  deadlineMs: number,
): Promise<Findings> {
  const { main, clock } = core.parts;
  const findings: Findings = { failed: [], unreadable: 0, shaky: 0, undecided: 0 };
  const whole = await tryOnce(() => main.read(target, part.offset, apart(part.granule)));
  if (whole === undefined) {
    // The kernel joins neighbours, and fails them together: what failed before was perhaps not this one's error.
    core.counters.readsSaved += 1;
    return findings;
  }
  const step = main.geometry.logicalBlockBytes;
  for (let at = 0; at < part.length; at += step) {
    // Into memory that a request without an answer was lent nothing more is read (I27).
    if (whole.kind === 'timed-out' || clock.nowMs() >= deadlineMs) {
      const rest = undecidedRange(part.offset + at, part.length - at);
      findings.failed.push(rest);
      findings.undecided = maskOf(core, rest);
      break;
    }
    const firstKind = part.length === step ? whole.kind : undefined;
    await askForBlock(core, part, target.subarray(at, at + step), at, firstKind, deadlineMs, findings);
  }
  const explained = findings.failed.length > 0 || findings.shaky !== 0;
  // Its blocks come one by one and not together: no single one is bad, the sector under them all is.
  if (whole.kind === 'medium' && !explained) findings.shaky = maskOf(core, part);
  return findings;
}

/**
 * A mark stays until the sector is written, and the path may have gone since it was probed: an error that may be the path's
 * is believed when it comes again behind a good round, with another good one behind it (R17). False: main is away.
 */
async function confirmSuspects(
  core: RemapCore,
  part: GranulePart,
  findings: Findings,
  target: Uint8Array,
  probeMemory: Uint8Array,
): Promise<boolean> {
  if (!hasSuspects(findings)) return true;
  if (!(await core.probe.worksUnderLock(probeMemory))) return false;
  const confirmed: RangeFailure[] = [];
  for (const range of findings.failed) {
    const again = range.kind === 'suspect' ? await askSuspect(core, part, range, target, findings) : range;
    if (again !== undefined) confirmed.push(again);
  }
  findings.failed = confirmed;
  return !hasSuspects(findings) || (await core.probe.worksUnderLock(probeMemory));
}

async function askSuspect(
  core: RemapCore,
  part: GranulePart,
  range: RangeFailure,
  target: Uint8Array,
  findings: Findings,
): Promise<RangeFailure | undefined> {
  const from = range.offset - part.offset;
  const block = target.subarray(from, from + range.length);
  const failure = await tryOnce(() => core.parts.main.read(block, range.offset, apart(part.granule)));
  if (failure === undefined) core.counters.readsSaved += 1;
  if (failure !== undefined && isAboutBlock(failure))
    return { ...range, kind: failure.kind, errno: failure.errno };
  const sectors = maskOf(core, range);
  findings.unreadable = (findings.unreadable & ~sectors) >>> 0;
  if (failure?.kind === 'timed-out') findings.undecided = (findings.undecided | sectors) >>> 0;
  if (failure === undefined) return undefined;
  const failed = { ...range, kind: failure.kind, errno: failure.errno };
  return failure.kind === 'path' ? waitingFor('main', failed) : failed;
}

function hasSuspects({ failed }: Findings): boolean {
  return failed.some(({ kind }) => kind === 'suspect');
}

/** Reads one block, once more after an error of its own; `firstKind` is that error where it is known already. */
async function askForBlock(
  core: RemapCore,
  part: GranulePart,
  block: Uint8Array,
  at: number,
  firstKind: FailedRange['kind'] | undefined,
  deadlineMs: number,
  findings: Findings,
): Promise<void> {
  const { main, clock } = core.parts;
  const range = { offset: part.offset + at, length: block.length };
  const read = () => tryOnce(() => main.read(block, range.offset, apart(part.granule)));
  const sectors = maskOf(core, range);
  let failure = await read();
  let wasBad = firstKind === 'medium';
  if (failure !== undefined && isAboutBlock(failure) && clock.nowMs() < deadlineMs) {
    wasBad ||= failure.kind === 'medium';
    failure = await read();
  }
  if (failure === undefined) {
    core.counters.readsSaved += 1;
    if (wasBad) findings.shaky = (findings.shaky | sectors) >>> 0;
    return;
  }
  const kind = wasBad && failure.kind === 'suspect' ? 'medium' : failure.kind;
  const failed = { ...range, kind, errno: failure.errno };
  findings.failed.push(kind === 'path' ? waitingFor('main', failed) : failed);
  if (kind === 'timed-out') findings.undecided = (findings.undecided | sectors) >>> 0;
  else if (isAboutBlock(failure)) findings.unreadable = (findings.unreadable | sectors) >>> 0;
}

/** Moves what is shaky, and marks what cannot be read. */
async function keepFindings(
  core: RemapCore,
  part: GranulePart,
  state: GranuleState,
  target: Uint8Array,
  buffer: Uint8Array,
  { unreadable, shaky }: Findings,
): Promise<void> {
  const { granuleBytes } = core.parts;
  const marks = core.live.roomForMarks() ? unreadable : 0;
  const marked = withMarks(core, state, marks);
  if (shaky !== 0) {
    const memory = relocationBuffers(buffer, granuleBytes);
    memory.bytes.set(target, part.offset - part.granule * granuleBytes);
    if (await moveSaved(core, marked, shaky, memory.bytes, memory.buffer)) return;
  }
  // A mark may be lost without harm, so the reader's answer does not wait for it.
  if (marks !== 0) core.commitLazily([recordOf(marked)]);
}

function isAboutBlock(failure: FailedRange): boolean {
  return failure.kind === 'medium' || failure.kind === 'suspect';
}

function undecidedRange(offset: number, length: number): FailedRange {
  return { offset, length, kind: 'timed-out', errno: Errno.ETIMEDOUT };
}

/** The sectors of a range inside one granule. */
function maskOf(core: RemapCore, range: ByteRange): number {
  const from = range.offset % core.parts.granuleBytes;
  return sectorMask(from, from + range.length);
}
