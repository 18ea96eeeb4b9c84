/** What a hunt over one compiled copy came to. */
export interface HuntReport {
  /** Seeds tried, the one that failed included. */
  readonly seeds: number;
  readonly cuts: number;
  /** Processor time of the hunt. */
  readonly cpuSeconds: number;
  readonly finding: Finding | undefined;
}

export interface Finding {
  readonly detector: string;
  /** Of the error. */
  readonly name: string;
  /** Its first line. */
  readonly message: string;
  readonly stack: string;
}

/**
 * Errors by which the project itself says that a promise is broken or that it can go no further. Any other, a `TypeError`
 * for one, would be found by whoever runs the code once: such a mutant proves nothing about the detectors.
 */
const errorsOfOurs: ReadonlySet<string> = new Set([
  'JudgeViolation',
  'AssertionError',
  'AssertionFailure',
  'DeviceError',
  'MetadataError',
  'RemapOpenError',
  'SimulationDeadlock',
  'SimulationLivelock',
]);

export function isErrorOfOurs(name: string): boolean {
  return errorsOfOurs.has(name);
}
