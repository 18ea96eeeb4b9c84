import { Errno } from '../../block/errno.ts';
import { SeededRandom } from '../seeded-random.ts';
import { SituationDrawing } from './situation-drawing.ts';
import { layoutOf, type WorldGeometry } from './world-geometry.ts';
import type { PlannedStep, SessionEnd } from './world-plan.ts';

/** Worlds with one more session, made of one situation that chance alone hardly ever brings about. */
const situationShare = 0.85;
/** A third of these sessions end somewhere in it: their device operations, at most. */
const operationsMax = 400;

/** Does its steps one after the other, beside the first client. */
const secondClient = 1;

export interface SituationSession {
  readonly end: SessionEnd;
  readonly steps: readonly PlannedStep[];
}

/** Undefined: this world has none. Chance of its own: everything else of the plan is as it is without. */
export function drawSituation(
  seed: number,
  geometry: WorldGeometry,
  session: number,
): SituationSession | undefined {
  const random = new SeededRandom(seed).fork('situation');
  if (!random.chance(situationShare)) return undefined;
  const how = random.pick(['close', 'power', 'kill'] as const);
  const afterOperations = random.chance(0.33) ? random.below(operationsMax) : 1_000_000;
  const drawing = new SituationDrawing(random, geometry, session);
  drawSteps(drawing);
  return { end: { how, afterOperations }, steps: drawing.steps };
}

type Situation = (drawing: SituationDrawing) => void;

/** Each leads to rows of the event table (docs/semantics.md), named by rule; those whose rows need luck stand here twice. */
const situations: readonly Situation[] = [
  ...[storm, storm],
  ...[readsWithoutAnswer, readsWithoutAnswer],
  writesWithoutAnswer,
  readsThatRetryGives,
  ...[readsThatTakeTooLong, readsThatTakeTooLong],
  ...[writesThatTakeTooLong, writesThatTakeTooLong],
  ...[suspendThatFails, suspendThatFails],
  commandsThatFail,
  lostAsZeros,
  importedSuspects,
  replicaThatLeaves,
  ...[recordsInDoubt, recordsInDoubt],
  pathErrorsOfOneSector,
  homeToABadMain,
  ...[slotThatGoesBad, slotThatGoesBad],
];
/** Of worlds whose blocks have more than one sector this many have clients who do not know that (R11). */
const partsShare = 0.4;
const situationsMax = 3;

function drawSteps(drawing: SituationDrawing): void {
  const { random, geometry } = drawing;
  const hasParts = geometry.logicalBlockBytes > 512 && random.chance(partsShare);
  const situation = hasParts ? partsOfBlocks : random.pick(situations);
  for (let left = 1 + random.below(situationsMax); left > 0; left -= 1) {
    situation(drawing);
    drawing.some();
  }
  drawing.add({ verb: 'flush' });
}

/** R16: main says medium error to every write, wherever it is. */
function storm(drawing: SituationDrawing): void {
  const { mainSectors } = drawing.geometry;
  const count = 64 + drawing.random.below(120);
  drawing.fault('main', { fault: 'fail', kinds: ['write'], errno: Errno.ENODATA, count });
  const perGranule = drawing.sectorsPerGranule;
  for (let sector = 0; sector < mainSectors; sector += perGranule) {
    const sectorCount = Math.min(perGranule, mainSectors - sector);
    drawing.add({ verb: 'write', sector, sectorCount, fua: drawing.random.chance(0.1) });
  }
  drawing.pause(3000);
}

/** R14: of one granule, three times; or of three regions. */
function readsWithoutAnswer(drawing: SituationDrawing): void {
  const everywhere = drawing.random.chance(0.4);
  const first = drawing.place(1);
  for (let time = 0; time < 3; time += 1) {
    const place = everywhere ? drawing.placeInEighth(time * 2) : first;
    drawing.late('read', place, everywhere ? 1 : 2);
    drawing.add({ verb: 'read', ...place });
    drawing.pause(2500);
  }
  drawing.add({ verb: 'read', ...first });
}

/** R3, R14: of one granule, as often as it is sent. */
function writesWithoutAnswer(drawing: SituationDrawing): void {
  const place = drawing.placeInGranule();
  drawing.late('write', place, 1 + drawing.random.below(4));
  drawing.add({ verb: 'write', ...place, fua: drawing.random.chance(0.3) });
  drawing.add({ verb: 'read', ...place });
}

/** R17, R18: a block that fails a few times and then comes. */
function readsThatRetryGives(drawing: SituationDrawing): void {
  const place = drawing.random.chance(0.6) ? drawing.place(1) : drawing.placeInGranule();
  drawing.failing('read', place, 1 + drawing.random.below(5), Errno.ENODATA);
  drawing.add({ verb: 'read', ...place });
  drawing.add({ verb: 'read', ...place });
}

/** R18: each try takes so long that the reader's time is over before it is decided. */
function readsThatTakeTooLong(drawing: SituationDrawing): void {
  const { random, sectorsPerGranule } = drawing;
  const place = random.chance(0.6) ? drawing.placeInGranule() : drawing.place(3 * sectorsPerGranule);
  const delay = { doneMs: 4500 + random.below(7000) };
  drawing.fault('main', { fault: 'delay', kinds: ['read'], delay, count: 3 + random.below(3), ...place });
  if (random.chance(0.4)) drawing.bad('main', place, 'both');
  else drawing.failing('read', place, 3 + random.below(6), Errno.ENODATA);
  drawing.add({ verb: 'read', ...place });
  if (random.chance(0.3)) drawing.add({ verb: 'write', ...place, fua: false });
  else drawing.add({ verb: 'pause', forMs: 40_000 });
  drawing.add({ verb: 'read', ...place });
}

/** R19: narrowing a write takes longer than its budget. */
function writesThatTakeTooLong(drawing: SituationDrawing): void {
  const { random, sectorsPerGranule } = drawing;
  const place = drawing.place(5 * sectorsPerGranule);
  const delay = { doneMs: 700 + random.below(2000) };
  drawing.fault('main', { fault: 'delay', kinds: ['write'], delay, count: 4, ...place });
  drawing.failing('write', place, 3 + random.below(6), Errno.ENODATA);
  drawing.add({ verb: 'write', ...place, fua: random.chance(0.3) });
  drawing.add({ verb: 'read', ...place });
  drawing.add({ verb: 'message', words: ['verify'] });
  drawing.add({ verb: 'read', ...place });
}

/** R30: a request hangs for longer than suspending waits, or the flush does or fails. */
function suspendThatFails(drawing: SituationDrawing): void {
  const disk = drawing.random.pick(['main', 'main', 'spare'] as const);
  const forMs = 30_500 + drawing.random.below(20_000);
  const kind = drawing.random.pick(['write', 'flush'] as const);
  if (drawing.random.chance(0.3)) drawing.fault(disk, { fault: 'failing-flush' });
  else drawing.fault(disk, { fault: 'stuck', kinds: [kind], forMs });
  drawing.add({ verb: 'write', ...drawing.place(8), fua: false });
  drawing.add({ verb: 'write', ...drawing.place(8), fua: false });
  drawing.add({ verb: 'pause', forMs: drawing.random.below(60) }, secondClient);
  drawing.add({ verb: 'suspend', forMs: drawing.random.below(3000), flush: true }, secondClient);
}

/** R20, R21: disks that do not know discard and write-zeroes, or fail them; FAST_ZERO. */
function commandsThatFail(drawing: SituationDrawing): void {
  const errno = drawing.random.pick([Errno.EOPNOTSUPP, Errno.EOPNOTSUPP, Errno.EIO, Errno.ENODATA]);
  for (const disk of ['main', 'spare'] as const) {
    const kinds = [drawing.random.pick(['discard', 'write-zeroes'] as const)];
    drawing.fault(disk, { fault: 'fail', kinds, errno, count: 1 + drawing.random.below(3) });
  }
  for (let count = 0; count < 6; count += 1) {
    const verb = drawing.random.pick(['discard', 'write-zeroes', 'fast-zeroes'] as const);
    drawing.add({ verb, ...drawing.place(32) });
  }
}

/** R9, R11: a client that knows only sectors of 512 bytes, over bad and lost blocks too. */
function partsOfBlocks(drawing: SituationDrawing): void {
  const { mainSectors } = drawing.geometry;
  const from = drawing.random.below(mainSectors - 64);
  if (drawing.random.chance(0.7)) {
    const bad = drawing.aligned(from + drawing.random.below(48), 1);
    drawing.bad('main', bad, drawing.random.pick(['both', 'write', 'read']));
    if (drawing.random.chance(0.5)) drawing.add({ verb: 'read', ...bad });
  }
  for (let count = 0; count < 16; count += 1) {
    const sector = from + drawing.random.below(56);
    const range = { sector, sectorCount: 1 + drawing.random.below(8) };
    const dice = drawing.random.below(10);
    if (dice < 6) drawing.add({ verb: 'write', ...range, fua: dice === 0, inSectors: true });
    else if (dice < 9) drawing.add({ verb: 'read', ...range, inSectors: true });
    else drawing.add({ verb: 'write', ...drawing.aligned(sector, 1), fua: false });
  }
}

/** R12: lost sectors read as zeros, until they are written. */
function lostAsZeros(drawing: SituationDrawing): void {
  const place = drawing.place(8);
  drawing.bad('main', place, 'read');
  drawing.add({ verb: 'read', ...place });
  drawing.add({ verb: 'message', words: ['policy', 'on-lost', 'zero'] });
  drawing.add({ verb: 'read', ...place });
  drawing.add({ verb: 'read', ...drawing.place(32) });
  drawing.add({ verb: 'write', ...drawing.place(4), fua: false });
  drawing.add({ verb: 'read', ...place });
  if (drawing.random.chance(0.5)) drawing.add({ verb: 'message', words: ['policy', 'on-lost', 'error'] });
}

/** R34: what another program had called bad, and main gives or does not. */
function importedSuspects(drawing: SituationDrawing): void {
  const { random } = drawing;
  const place = drawing.placeInGranule();
  const words = [String(place.sector), String(place.sectorCount)];
  if (random.chance(0.3)) drawing.bad('main', place, 'both');
  if (random.chance(0.2)) drawing.late('read', place, 2);
  drawing.add({ verb: 'message', words: ['import', 'suspect', ...words] });
  if (random.chance(0.7)) drawing.add({ verb: 'read', ...place });
  drawing.add({ verb: 'write', ...drawing.aligned(place.sector, 1), fua: false });
  drawing.add({ verb: 'read', ...place });
}

/** M2: a replica's journal fails until the replica leaves; later it is taken in again. */
function replicaThatLeaves(drawing: SituationDrawing): void {
  const { replicas } = layoutOf(drawing.geometry);
  const { journalOffsets } = drawing.random.pick(replicas);
  const sectorCount = drawing.geometry.layout.journalBytes! / 512;
  for (const offset of journalOffsets) {
    const scope = { sector: offset / 512, sectorCount };
    drawing.fault('spare', { fault: 'fail', kinds: ['write'], errno: Errno.ENODATA, count: 8, ...scope });
  }
  drawing.moves(2);
  drawing.add({ verb: 'repair-replicas' });
  drawing.moves(2);
  drawing.add({ verb: 'repair-replicas' });
}

/** R15: a path error that is about one place, of a disk that works elsewhere. */
function pathErrorsOfOneSector(drawing: SituationDrawing): void {
  const place = drawing.placeInGranule();
  const errno = drawing.random.pick([Errno.EPIPE, Errno.ETIME, Errno.ENOLINK]);
  const kind = drawing.random.pick(['read', 'write'] as const);
  drawing.failing(kind, place, 1 + drawing.random.below(8), errno);
  if (kind === 'read') drawing.add({ verb: 'read', ...place });
  else drawing.add({ verb: 'write', ...place, fua: false });
  drawing.add({ verb: 'read', ...place });
}

/** R4: what was moved is asked home while main does not take it. */
function homeToABadMain(drawing: SituationDrawing): void {
  const place = drawing.placeInGranule();
  const words = [String(place.sector), String(place.sectorCount)];
  drawing.bad('main', place, 'write');
  drawing.add({ verb: 'write', ...place, fua: true });
  drawing.add({ verb: 'message', words: [drawing.random.pick(['unremap', 'retire', 'verify']), ...words] });
  drawing.add({ verb: 'read', ...place });
  drawing.add({ verb: 'message', words: ['unremap', ...words] });
}

/** M1, R5: the spare goes away in the middle of records, for longer than they may stay in doubt. */
function recordsInDoubt(drawing: SituationDrawing): void {
  const { random } = drawing;
  const forMs = 16_000 + random.below(8000);
  drawing.pause(12, secondClient);
  drawing.fault('spare', { fault: 'path', errno: Errno.EIO, forMs }, secondClient);
  drawing.moves(3);
  drawing.add({ verb: 'pause', forMs: 20_000 });
  for (let write = 0; write < 4; write += 1) {
    drawing.add({ verb: 'write', ...drawing.place(16), fua: false });
    drawing.add({ verb: 'pause', forMs: 1500 });
  }
  drawing.moves(1);
}

/** R4, R5: where a block was moved to goes bad, and is read or written. */
function slotThatGoesBad(drawing: SituationDrawing): void {
  const { random } = drawing;
  const place = drawing.placeInGranule();
  drawing.failing('write', place, 2, Errno.ENODATA);
  drawing.add({ verb: 'write', ...place, fua: true });
  drawing.fault('spare', { fault: 'slot', sector: place.sector, on: random.pick(['both', 'write', 'read']) });
  if (random.chance(0.5)) drawing.add({ verb: 'read', ...place });
  else
    drawing.add({ verb: 'write', ...drawing.aligned(place.sector + place.sectorCount - 1, 1), fua: false });
  drawing.add({ verb: 'read', ...place });
  drawing.add({ verb: 'write', ...place, fua: false });
}
