import type { RemapStatus } from '../../remap/remap-status.ts';
import { type FaultCounts, zeroFaultCounts } from '../simulated-faults.ts';
import type { ForkCounts } from './power-fork.ts';

/** What worlds were made of: tests assert that the interesting things really happened (I26). */
export interface WorldOutcome {
  /** Submissions and settlements of the sessions, main and spare; forks are not counted. */
  deviceOperations: number;
  /** Client requests that were answered, by verb. */
  readonly requests: Record<string, number>;
  /** Client requests that failed, by verb. */
  readonly failedRequests: Record<string, number>;
  /** How sessions ended. */
  readonly sessionEnds: Record<string, number>;
  readonly forks: ForkCounts;
  remappedGranules: number;
  lostSectors: number;
  checkpoints: number;
  sectorsChecked: number;
  readonly mainFaults: FaultCounts;
  readonly spareFaults: FaultCounts;
  /** Times that a target over main began to misbehave, by its name. */
  readonly targetFaults: Record<string, number>;
  /** Times that another disk was in the place of one, and was asked whether it is the right one. */
  foreignDisks: number;
  foreignReopens: number;
  /** Lines of `list` and `lost` that were compared. */
  listLines: number;
  /** Sectors of writes that overlapped another write of the sector. */
  overlaps: number;
  /** Worlds that ended early: their spare had lied about flushes and was refused, as documented. */
  refusedSpares: number;
  /** Times that a status said so: states of the device and of its metadata. */
  readonly states: Record<string, number>;
  /** Everything that the stack counted itself: which rules really ran. */
  readonly counters: Record<string, number>;
}

export function emptyOutcome(): WorldOutcome {
  return {
    deviceOperations: 0,
    requests: {},
    failedRequests: {},
    sessionEnds: {},
    forks: { powerCuts: 0, kills: 0, secondLives: 0, refused: 0, sectorsChecked: 0 },
    remappedGranules: 0,
    lostSectors: 0,
    checkpoints: 0,
    sectorsChecked: 0,
    mainFaults: zeroFaultCounts(),
    spareFaults: zeroFaultCounts(),
    targetFaults: {},
    foreignDisks: 0,
    foreignReopens: 0,
    refusedSpares: 0,
    overlaps: 0,
    listLines: 0,
    states: {},
    counters: {},
  };
}

export function countOne(counts: Record<string, number>, name: string): void {
  counts[name] = (counts[name] ?? 0) + 1;
}

/** Notes which states a status shows. */
export function noteStates(outcome: WorldOutcome, status: RemapStatus): void {
  countOne(outcome.states, status.state);
  countOne(outcome.states, `metadata ${status.metadata.state}`);
  if (status.metadata.replicasInSync < status.metadata.replicasTotal) {
    countOne(outcome.states, 'metadata with a replica out of sync');
  }
}

/** Adds what one run of the process counted, once, at its end. */
export function noteCounters(outcome: WorldOutcome, status: RemapStatus): void {
  outcome.checkpoints += status.metadata.checkpoints;
  addNumbers(outcome.counters, { ...status.counters });
}

/** Adds one outcome to a sum. Everything in it is a number or numbers by name. */
export function addOutcome(sum: WorldOutcome, one: WorldOutcome): void {
  sum.deviceOperations += one.deviceOperations;
  sum.remappedGranules += one.remappedGranules;
  sum.lostSectors += one.lostSectors;
  sum.checkpoints += one.checkpoints;
  sum.foreignDisks += one.foreignDisks;
  sum.listLines += one.listLines;
  sum.overlaps += one.overlaps;
  sum.refusedSpares += one.refusedSpares;
  sum.foreignReopens += one.foreignReopens;
  addNumbers(sum.targetFaults, one.targetFaults);
  sum.sectorsChecked += one.sectorsChecked;
  addNumbers(sum.requests, one.requests);
  addNumbers(sum.failedRequests, one.failedRequests);
  addNumbers(sum.sessionEnds, one.sessionEnds);
  addNumbers(sum.forks, one.forks);
  addNumbers(sum.mainFaults, one.mainFaults);
  addNumbers(sum.spareFaults, one.spareFaults);
  addNumbers(sum.states, one.states);
  addNumbers(sum.counters, one.counters);
}

/** Adds the numbers of `one` to those of `sum`, by name. */
function addNumbers(sum: object, one: object): void {
  const into = new Map<string, number>(Object.entries(sum));
  for (const [name, value] of Object.entries(one)) into.set(name, (into.get(name) ?? 0) + Number(value));
  Object.assign(sum, Object.fromEntries(into));
}
