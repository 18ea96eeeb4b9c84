import type { WorldOutcome } from '../../../src/simulator/world/world-outcome.ts';

/** A piece of code of the product that runs when a row happens: it must occur once in its file. */
export interface Anchor {
  /** Below `src/`. */
  readonly file: string;
  readonly code: string;
}

/** One row of the event table of docs/semantics.md, or one of several ways to it. */
export interface EventRow {
  /** The first cell of the row. */
  readonly event: string;
  /** Which way, where there are several. */
  readonly way?: string;
  /** All of this is executed in a world that reaches the row. */
  readonly anchors?: readonly Anchor[];
  /** What is seen from outside then: states, disks, answers. Times in one world. */
  readonly seen?: (outcome: WorldOutcome) => number;
  /** The simulator has none of it, for this reason; the test that has. */
  readonly elsewhere?: { readonly why: string; readonly test: string };
}

function at(file: string, code: string): Anchor {
  return { file: `remap/${file}`, code };
}

function state(name: string): (outcome: WorldOutcome) => number {
  return (outcome) => outcome.states[name] ?? 0;
}

const held = at('path/path-state.ts', 'this.#waiting.push(resolve)');
const windowOver = at(
  'path/path-state.ts',
  'this.#windowEnd ??= this.#parts.clock.schedule(leftMs, () => this.#answer(false)',
);
const firstTimeout = at('path/timeout-ledger.ts', 'this.#granules.set(granule, {');
const stores = 'processes of their own hold disks, sockets and exports; worlds begin with the remap device';

/** In the order of the page. */
export const eventRows: readonly EventRow[] = [
  { event: 'main does not answer', seen: state('main-failed'), anchors: [held] },
  {
    event: 'main does not answer',
    way: 'longer than path-timeout',
    seen: state('main-failed'),
    anchors: [windowOver],
  },
  { event: 'main fails every write and can be read', seen: state('main-writes-failed') },
  {
    event: 'main fails every write and can be read',
    way: 'with a medium error: the storm breaker',
    anchors: [at('path/write-storm.ts', '&& this.#regions.size >= stormRegionsMin')],
    seen: state('main-writes-failed'),
  },
  { event: 'the spare does not answer', seen: state('spare-failed'), anchors: [held] },
  { event: 'main or spare pulled out', anchors: [at('path/device-paths.ts', 'this.#gone.delete(place)')] },
  {
    event: 'an image file is cut while it is served',
    elsewhere: { why: 'simulated disks are no files, and keep their size', test: 'test/io/cut-file.test.ts' },
  },
  {
    event: 'another disk in its place',
    anchors: [at('path/device-paths.ts', 'asDeviceError(error)')],
    seen: ({ foreignReopens }) => foreignReopens,
  },
  {
    event: 'one sector of a device that works has a path error',
    anchors: [at('request/path-wait.ts', 'this.#pauseMs = Math.min(')],
  },
  {
    event: 'a read without an answer, first time',
    anchors: [
      firstTimeout,
      at('request/read-timeout.ts', "const fault = await core.paths.judgeTimeout('main', 'read'"),
    ],
  },
  {
    event: 'a read without an answer, again on this granule',
    anchors: [at('request/read-timeout.ts', 'core.commitLazily(')],
  },
  {
    event: 'no answers in three regions within 60 s',
    anchors: [at('path/timeout-ledger.ts', 'this.#granules.clear()')],
  },
  { event: 'a write without an answer', anchors: [at('request/split-request.ts', 'this.#late.push(')] },
  {
    event: 'a write without an answer',
    way: 'again on this granule: it moves',
    anchors: [at('request/split-request.ts', "this.repairLater(piece, { ...range, kind: 'medium' })")],
  },
  { event: 'a record could not be settled', seen: state('metadata-failed') },
  {
    event: 'a record could not be settled',
    way: 'and is, later',
    anchors: [at('remap-core.ts', 'for (const slot of this.#doubtfulSlots.splice(0))')],
    seen: state('metadata-failed'),
  },
  {
    event: 'main fails a write in a sector',
    anchors: [at('move/relocation.ts', "return 'moved';\n}")],
    seen: ({ mainFaults, counters }) => Math.min(mainFaults.badSectorWrites, counters['remaps'] ?? 0),
  },
  {
    event: 'main fails a write in a sector',
    way: 'and budget is spent: moved unverified (R19)',
    anchors: [
      at('request/write-request.ts', 'this.#repairGranules(range, reasonOfPlace[piece.place], true)'),
    ],
  },
  {
    event: 'main fails a read, a retry gives it',
    anchors: [at('move/salvage-block.ts', 'core.counters.salvagedGranules += 1')],
  },
  { event: 'main fails a read for good', anchors: [at('move/main-salvage.ts', 'core.commitLazily(')] },
  {
    event: 'a read is not decided in 10 s',
    anchors: [at('move/main-salvage.ts', 'core.salvager.add(')],
  },
  {
    event: 'a read is not decided in 10 s',
    way: 'and has not begun to ask for all of it',
    anchors: [at('request/read-request.ts', 'this.core.salvager.add(')],
  },
  {
    event: 'a read is not decided in 10 s',
    way: 'the salvager reads it',
    anchors: [at('move/salvage-block.ts', 'await moveIfBad(')],
  },
  {
    event: 'a read is not decided in 10 s',
    way: 'the salvager marks it',
    anchors: [at('move/salvage-block.ts', 'core.commitLazily(')],
  },
  {
    event: 'a slot loses what it held',
    anchors: [at('move/read-repair.ts', 'const recorded = await recordGone(')],
  },
  {
    event: 'a slot loses what it held',
    way: 'found by writing to it',
    anchors: [
      at('request/split-request.ts', 'this.repairLater(piece, range);\n        }'),
      at('move/relocation.ts', 'part.fill(0)'),
    ],
  },
  {
    event: 'a write to a lost sector',
    anchors: [at('move/write-repair.ts', '? await clearMarks(core, repair, state, mask)')],
  },
  {
    event: 'a write to a lost sector',
    way: 'that main does not take: moved',
    anchors: [at('move/write-repair.ts', 'core.paths.storm.noteFailed(repair.granule)')],
  },
  {
    event: 'a read of an imported suspect',
    anchors: [at('request/read-request.ts', 'const answer = await askMainAgain(')],
  },
  {
    event: 'no slot is free',
    seen: state('spare-full'),
    anchors: [at('move/relocation.ts', "failure = 'spare-full'")],
  },
  {
    event: '`unremap`, main does not take it',
    anchors: [at('move/take-home.ts', 'const works = !core.paths.storm.raging')],
  },
  { event: '`suspend`', seen: state('suspended') },
  {
    event: '`suspend`, a request or flush unanswered for 30 s, or the flush fails',
    way: 'unanswered',
    anchors: [at('order/suspension.ts', "new SuspendError('SUSPEND_TIMED_OUT'")],
  },
  {
    event: '`suspend`, a request or flush unanswered for 30 s, or the flush fails',
    way: 'the flush fails',
    anchors: [at('order/suspension.ts', "new SuspendError('SUSPEND_FLUSH_FAILED'")],
  },
  {
    event: '`resume`, another disk in place of main or spare',
    elsewhere: { why: stores, test: 'test/device/process/daemon.test.ts' },
  },
  {
    event: 'the connection to an NBD main or spare ends',
    elsewhere: { why: stores, test: 'test/nbd/nbd-device.test.ts' },
  },
  {
    event: 'SIGTERM, `remove --force` with clients',
    elsewhere: { why: stores, test: 'test/device/process/daemon.test.ts' },
  },
  { event: '`remove` while suspended', elsewhere: { why: stores, test: 'test/nbd/suspend.test.ts' } },
  {
    event: 'a discard that a disk fails',
    anchors: [at('request/discard-request.ts', 'core.optional.noteFailure(')],
  },
  {
    event: 'a disk that does not know discard or write-zeroes',
    anchors: [at('request/optional-commands.ts', 'unknown.add(command)')],
  },
  {
    event: 'write-zeroes that main fails',
    anchors: [at('request/zero-request.ts', 'const failure = asDeviceError(error)')],
  },
  {
    event: 'FAST_ZERO where anything is mapped or lost, or main cannot',
    anchors: [at('request/zero-request.ts', "this.#failed.push({ offset, length, kind: 'unsupported'")],
  },
  {
    event: 'the first medium error of a main with a volatile cache, `main-cache=fua`',
    anchors: [at('request/main-cache.ts', '&& this.#showedMediumError && this.#isVolatile')],
  },
  {
    event: 'a write that ends inside a block of the spare',
    anchors: [at('move/slot-part.ts', 'const old = await readSlot(core, state.slot, siblings')],
  },
  {
    event: 'a part of a block whose rest is lost or cannot be read',
    anchors: [at('request/alignment-filter.ts', 'const { kind, errno } = asDeviceError(error)')],
  },
  {
    event: 'main cannot read what was never written, `create --fresh`',
    anchors: [at('request/fresh-read.ts', 'await storeMark(')],
  },
  {
    event: 'the end of a fresh region cannot be stored',
    anchors: [at('table/fresh-map.ts', "const detail = 'that the range is written to cannot be stored")],
  },
  {
    event: 'main or spare is used by somebody else, at `create` or `assemble`',
    elsewhere: { why: stores, test: 'test/end-to-end/spare-in-use.test.ts' },
  },
];

/** Rules of which worlds have nothing, and where they are tested: their code begins above the remap device. */
export const rulesElsewhere: Readonly<Record<string, string>> = {
  M12: 'test/remap/spare/replacement-power-cut.test.ts',
  M13: 'test/end-to-end/without-spare.test.ts',
};
