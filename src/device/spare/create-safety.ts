import { SetupError } from '../setup-error.ts';

/** What is known about one of the two disks of a `create`, gathered without writing and, for main, without reading data. */
export interface CandidateFacts {
  /** As the operator named it. */
  readonly path: string;
  readonly kind: 'file' | 'block' | 'nbd' | 'table';
  /** Equal for two names of one file or device: inode and file system, or device number. */
  readonly keys: readonly string[];
  /** What it lies on, in the form of `keys`: a partition's disk, a file's file system's disk. Not itself. */
  readonly wholeDiskKeys: readonly string[];
  readonly sizeBytes: number;
  readonly model: string;
  readonly serial: string;
  /** Who uses it, as clauses: `mounted on /home`, `held by md0`, `swap`. Never overridable. */
  readonly uses: readonly string[];
  /** A superblock of ours is on it. */
  readonly isSpare: boolean;
  /** Of the device that it is the spare of; may be empty. */
  readonly spareName: string;
  /** What else its contents look like, as `blkid` would say. */
  readonly signatures: readonly string[];
  /** Some place where a signature could be could not be read. */
  readonly unreadable: boolean;
}

export interface CreateChoices {
  /** The operator declared the spare's contents worthless. */
  readonly overwriteSpare: boolean;
}

/**
 * M17: why this pair must not be made into a device, or undefined when it may. The spare is the one disk that `create`
 * writes to, so the question behind every check is: could the disk named as the spare be the one somebody wants to keep?
 * Checks that no option overrides come first, so that no message advises an option that will not help.
 */
export function createRefusal(
  main: CandidateFacts,
  spare: CandidateFacts,
  choices: CreateChoices,
): SetupError | undefined {
  return (
    sameDisk(main, spare) ??
    containsTheOther(main, spare) ??
    inUse(main, 'main') ??
    inUse(spare, 'spare') ??
    mainIsASpare(main) ??
    looksSwapped(main, spare) ??
    (choices.overwriteSpare ? undefined : overridable(main, spare))
  );
}

function refused(message: string): SetupError {
  return new SetupError('refused', message);
}

function share(a: readonly string[], b: readonly string[]): boolean {
  return a.some((key) => b.includes(key));
}

function sameDisk(main: CandidateFacts, spare: CandidateFacts): SetupError | undefined {
  if (!share(main.keys, spare.keys)) return undefined;
  return refused(`${spare.path}: main and spare are the same ${spare.kind === 'block' ? 'device' : 'file'}`);
}

function containsTheOther(main: CandidateFacts, spare: CandidateFacts): SetupError | undefined {
  if (share(main.keys, spare.wholeDiskKeys)) {
    return refused(`${spare.path}: the spare lies on main ${main.path} itself and would fail with it`);
  }
  if (share(spare.keys, main.wholeDiskKeys)) {
    return refused(`${spare.path}: main ${main.path} lies on this disk; formatting it would destroy main`);
  }
  return undefined;
}

/** R27: never overridable. */
export function inUse(disk: CandidateFacts, role: string): SetupError | undefined {
  if (disk.uses.length === 0) return undefined;
  return new SetupError('busy', `${disk.path}: the ${role} is in use: ${disk.uses.join(', ')}`);
}

/** Somebody's remapped sectors are on it: this is the spare, or the spare of another device. */
function mainIsASpare(main: CandidateFacts): SetupError | undefined {
  if (!main.isSpare) return undefined;
  return refused(`${main.path}: given as main, but it is ${spareText(main)}; are main and spare swapped?`);
}

/**
 * Main can be read, the spare carries something, and main carries nothing or is the smaller one: then the spare is the
 * disk to keep, and a routine `--overwrite-spare` must not cost it. A main that cannot be read is proof enough that it
 * is the failing one.
 */
function looksSwapped(main: CandidateFacts, spare: CandidateFacts): SetupError | undefined {
  // Moved sectors may hold anything, other people's signatures too: a spare of ours is no proof.
  if (spare.isSpare) return undefined;
  if (spare.signatures.length === 0 || main.unreadable) return undefined;
  const isLarger = spare.sizeBytes > main.sizeBytes;
  if (main.signatures.length > 0 && !isLarger) return undefined;
  const than = main.signatures.length === 0 ? 'carries nothing known' : 'is smaller';
  return refused(
    `${spare.path}: given as spare, but it carries ${spare.signatures.join(', ')} while main ${main.path} ${than}; ` +
      `are they swapped? If not, clear it first: wipefs --all ${spare.path}`,
  );
}

function overridable(main: CandidateFacts, spare: CandidateFacts): SetupError | undefined {
  if (spare.isSpare) {
    return refused(
      `${spare.path}: is ${spareText(spare)} already; "dm-remap examine" shows whose, "dm-remap assemble" brings it back, ` +
        `--overwrite-spare destroys what it holds`,
    );
  }
  if (spare.signatures.length > 0) {
    return refused(`${spare.path}: carries ${spare.signatures.join(', ')}; --overwrite-spare destroys it`);
  }
  if (spare.unreadable) {
    return refused(
      `${spare.path}: parts of it cannot be read to see what it carries; is it the failing disk? If not: --overwrite-spare`,
    );
  }
  if (spare.sizeBytes > main.sizeBytes) {
    return refused(
      `${spare.path}: the spare (${spare.sizeBytes} bytes) is larger than main ${main.path} (${main.sizeBytes} bytes); ` +
        `are they swapped? If not: --overwrite-spare`,
    );
  }
  return undefined;
}

function spareText(disk: CandidateFacts): string {
  return disk.spareName === '' ? 'a dm-remap spare' : `a dm-remap spare (of ${disk.spareName})`;
}

/** What the operator should know and may accept. */
export function createWarnings(main: CandidateFacts, spare: CandidateFacts): readonly string[] {
  const shared = share(main.wholeDiskKeys, spare.wholeDiskKeys);
  const sameProduct = main.serial !== '' && main.serial === spare.serial && main.model === spare.model;
  if (!shared && !sameProduct) return [];
  // Two image files on one disk are how everybody tries this out first.
  if (main.kind !== 'block' && spare.kind !== 'block') return [];
  return [`main ${main.path} and spare ${spare.path} are on one disk: when it dies, both are gone`];
}
