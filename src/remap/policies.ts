/**
 * What an operator decides about one device. Kept in the superblock as text, changed while the device serves, and read by
 * every request anew: a change holds for the next one.
 */
export interface Policies {
  /** R17: how long requests wait for a main or spare that does not answer, milliseconds. */
  readonly pathTimeoutMs: number;
  /** R12: what an export read of a lost sector gets. Internal reads never see it. */
  readonly onLost: 'error' | 'zero';
  /** What a full spare means: only writes to new bad sectors fail, or all writes. */
  readonly onSpareFull: 'fail-writes' | 'read-only';
  /** `rewrite-first` writes again in place and reads back before it moves, as drive firmware does. */
  readonly onWriteError: 'remap' | 'rewrite-first';
  /** R8: a main with a volatile cache that has shown a medium error is written with FUA (`fua`), always (`off`), never. */
  readonly mainCache: 'off' | 'fua' | 'as-is';
  /** R24: read back after the first write to a slot, after each, or never. */
  readonly verify: 'first' | 'always' | 'off';
  /** R18: whether the background salvager goes on with what a read left undecided. */
  readonly salvage: 'on' | 'off';
  /** Whether the control plane judges how healthy the device and its disks are. No request ever looks at it. */
  readonly health: 'on' | 'off';
  /** Whether disks and their kernel time-outs are set up for recovering errors when the device is assembled. As `health`. */
  readonly tune: 'on' | 'off';
  /** Whether main itself is exported beside the device, read-only (R29); looked at when the device is assembled. */
  readonly exportMain: 'on' | 'off';
  /** The most that a scrub reads, MiB a second; 0: as fast as the disks give. */
  readonly scrubMebibytesPerSecond: number;
  /** Days from the end of one scrub to the beginning of the next; 0: only when somebody asks. */
  readonly scrubEveryDays: number;
  /** What a scrub does about blocks that main gives only slowly. */
  readonly slowRead: 'off' | 'report' | 'move';
  /** No read that takes less is slow, however fast the disk is otherwise; milliseconds. */
  readonly slowReadMs: number;
  /** Blocks that are moved for being slow, at most, an hour. */
  readonly slowMovesPerHour: number;
}

export const defaultPolicies: Policies = {
  pathTimeoutMs: 15_000,
  onLost: 'error',
  onSpareFull: 'fail-writes',
  onWriteError: 'remap',
  mainCache: 'fua',
  verify: 'first',
  salvage: 'on',
  health: 'on',
  tune: 'on',
  exportMain: 'on',
  // As md's sync_speed_max.
  scrubMebibytesPerSecond: 200,
  scrubEveryDays: 0,
  slowRead: 'report',
  // Four revolutions and a seek of a slow disk are 80 ms; a drive that reads a sector again takes seconds.
  slowReadMs: 200,
  slowMovesPerHour: 8,
};

/** Longer than this and a client's own time-outs come first. */
export const pathTimeoutSecondsMax = 3600;

type ChoiceKey = Exclude<keyof Policies, NumberKey>;

type NumberKey =
  | 'pathTimeoutMs'
  | 'scrubMebibytesPerSecond'
  | 'scrubEveryDays'
  | 'slowReadMs'
  | 'slowMovesPerHour';

interface NumberPolicy {
  readonly key: NumberKey;
  /** Whole numbers, both included. */
  readonly min: number;
  readonly max: number;
  /** As a complaint names it. */
  readonly unit: string;
  /** What is kept is this often what people say. */
  readonly factor: number;
}

const numbers: Readonly<Record<string, NumberPolicy>> = {
  'path-timeout': {
    key: 'pathTimeoutMs',
    min: 0,
    max: pathTimeoutSecondsMax,
    unit: 'seconds',
    factor: 1000,
  },
  'scrub-rate': {
    key: 'scrubMebibytesPerSecond',
    min: 0,
    max: 99_999,
    unit: 'MiB a second',
    factor: 1,
  },
  'scrub-every': { key: 'scrubEveryDays', min: 0, max: 365, unit: 'days', factor: 1 },
  'slow-read-ms': { key: 'slowReadMs', min: 20, max: 60_000, unit: 'milliseconds', factor: 1 },
  'slow-moves': { key: 'slowMovesPerHour', min: 0, max: 1000, unit: 'blocks an hour', factor: 1 },
};

/** The words people use, on the command line, in messages and in the superblock; seconds for times. */
const choices: Readonly<Record<string, { readonly key: ChoiceKey; readonly values: readonly string[] }>> = {
  'on-lost': { key: 'onLost', values: ['error', 'zero'] },
  'on-spare-full': { key: 'onSpareFull', values: ['fail-writes', 'read-only'] },
  'on-write-error': { key: 'onWriteError', values: ['remap', 'rewrite-first'] },
  'main-cache': { key: 'mainCache', values: ['off', 'fua', 'as-is'] },
  verify: { key: 'verify', values: ['first', 'always', 'off'] },
  salvage: { key: 'salvage', values: ['on', 'off'] },
  health: { key: 'health', values: ['on', 'off'] },
  tune: { key: 'tune', values: ['on', 'off'] },
  'export-main': { key: 'exportMain', values: ['on', 'off'] },
  'slow-read': { key: 'slowRead', values: ['off', 'report', 'move'] },
};

/** In the order in which they are shown. */
export const policyNames: readonly string[] = Object.keys(policyRecord(defaultPolicies));

/** `policies` with one of them changed, or one clause about what is wrong with the words. */
export function withPolicy(policies: Policies, name: string, value: string): Policies | string {
  const number = numbers[name];
  if (number !== undefined) {
    const said = /^[0-9]{1,5}$/.test(value) ? Number(value) : Number.NaN;
    const { key, min, max, unit, factor } = number;
    return said >= min && said <= max
      ? { ...policies, [key]: said * factor }
      : `${name} is '${value}', expected ${unit} from ${min} to ${max}`;
  }
  const choice = choices[name];
  if (choice === undefined) return `unknown policy '${name}', expected one of ${policyNames.join(', ')}`;
  return choice.values.includes(value)
    ? { ...policies, [choice.key]: value }
    : `${name} is '${value}', expected ${choice.values.join(' or ')}`;
}

/** As `withPolicy` for all of a record; names that this program does not know are skipped: a later one wrote them. */
export function policiesOf(record: Readonly<Record<string, string>>): Policies {
  let policies = defaultPolicies;
  for (const [name, value] of Object.entries(record)) {
    const changed = withPolicy(policies, name, value);
    if (typeof changed !== 'string') policies = changed;
  }
  return policies;
}

/** Those that are not as `defaultPolicies` has them, of what `policyRecord` gives. */
export function changedPolicies(record: Readonly<Record<string, string>>): Readonly<Record<string, string>> {
  const usual = policyRecord(defaultPolicies);
  return Object.fromEntries(Object.entries(record).filter(([name, value]) => usual[name] !== value));
}

/** For the superblock and for people. */
export function policyRecord(policies: Policies): Readonly<Record<string, string>> {
  const numberText = (name: string): [string, string][] => {
    const number = numbers[name];
    return number === undefined ? [] : [[name, String(policies[number.key] / number.factor)]];
  };
  const [first = '', ...others] = Object.keys(numbers);
  return Object.fromEntries([
    ...numberText(first),
    ...Object.entries(choices).map(([name, { key }]): [string, string] => [name, policies[key]]),
    ...others.flatMap(numberText),
  ]);
}
