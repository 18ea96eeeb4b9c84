import { formatExactBytes } from '../block/byte-text.ts';
/** What is known of a disk, and what two such facts say about each other (M15, M17). Pure. */

export interface DiskIdentity {
  readonly kind: 'block' | 'file' | 'nbd';
  /** Behind all links. */
  readonly path: string;
  /** `strong`: named by WWN or serial, so that no other disk can pass for it. `weak`: only a path, a size, an inode. */
  readonly strength: 'strong' | 'weak';
  /** The same for every name of one device or file, until the next boot: `block 8:1`, `file 8:1 1234`. */
  readonly key: string;
  /** Keys of all that it lies on, down to the disks: its own disk, a partition's disk, the disks below a volume or file. */
  readonly wholeDiskKeys: readonly string[];
  readonly sizeBytes: number;
  /** 0 when unknown (files). */
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  /** World-wide name, `nguid`, or the UUID of a volume of device-mapper or md; empty when unknown. Of a partition: its disk's. */
  readonly wwn: string;
  readonly serial: string;
  readonly model: string;
  readonly vendor: string;
  /** Empty for what is no partition, or unknown. */
  readonly partitionUuid: string;
  /** Bytes from the start of the disk; 0 for what is no partition. */
  readonly partitionStartBytes: number;
  readonly rotational: boolean;
  /** The disk's own volatile cache (R8). */
  readonly writeCache: 'write back' | 'write through' | 'unknown';
}

/** Do these two lie on one disk, so that its end is the end of both? */
export function onOneDisk(one: DiskIdentity, other: DiskIdentity): boolean {
  if (one.wholeDiskKeys.some((key) => other.wholeDiskKeys.includes(key))) return true;
  // Two paths of a multipath disk are two devices.
  return one.wwn !== '' && one.wwn === other.wwn;
}

export interface IdentityVerdict {
  /**
   * `same`: named by WWN or serial, and nothing that identifies changed. `weak`: nothing speaks against it and nothing
   * proves it; never assembled without a person (M15). `different`: an identifying field changed.
   */
  readonly verdict: 'same' | 'weak' | 'different';
  /** Clauses for people: `serial was A, is B`. Also for `same`: what changed and is allowed to. */
  readonly reasons: readonly string[];
}

/**
 * Is `found` the disk that was recorded? Pure. A field that one side does not know says nothing, except that without an
 * equal WWN or serial the answer is at best `weak`. A disk that grew is the same (M21), one that shrank is not.
 */
export function sameIdentity(recorded: DiskIdentity, found: DiskIdentity): IdentityVerdict {
  const differences: string[] = [];
  const remarks: string[] = [];
  const compare = (list: string[], name: string, was: string | number, is: string | number): void => {
    const known = was !== '' && was !== 0 && is !== '' && is !== 0;
    if (known && was !== is) list.push(`${name} was ${was}, is ${is}`);
  };
  if (recorded.kind !== found.kind) differences.push(`was a ${nameOf(recorded)}, is a ${nameOf(found)}`);
  compare(differences, 'WWN', recorded.wwn, found.wwn);
  compare(differences, 'serial', recorded.serial, found.serial);
  compare(differences, 'logical block', recorded.logicalBlockBytes, found.logicalBlockBytes);
  compare(differences, 'partition UUID', recorded.partitionUuid, found.partitionUuid);
  if (recorded.partitionStartBytes !== found.partitionStartBytes) {
    differences.push(`partition start was ${recorded.partitionStartBytes}, is ${found.partitionStartBytes}`);
  }
  const shrank = found.sizeBytes < recorded.sizeBytes;
  compare(shrank ? differences : remarks, 'size', recorded.sizeBytes, found.sizeBytes);

  const proven =
    (recorded.wwn !== '' && recorded.wwn === found.wwn) ||
    (recorded.serial !== '' && recorded.serial === found.serial);
  // Enclosures put their own name before the disk's: it counts only where nothing better is known.
  compare(proven ? remarks : differences, 'model', recorded.model, found.model);
  if (differences.length > 0) return { verdict: 'different', reasons: differences };
  if (proven) return { verdict: 'same', reasons: remarks };
  if (recorded.path !== found.path) remarks.push(`path was ${recorded.path}, is ${found.path}`);
  return {
    verdict: 'weak',
    reasons: [...remarks, `no WWN and no serial to tell ${found.path} from another ${nameOf(found)}`],
  };
}

function nameOf(identity: DiskIdentity): string {
  return { block: 'block device', file: 'file', nbd: 'NBD export' }[identity.kind];
}

/** `/dev/sdb: ATA WDC WD10EZEX, serial WD-1234, 931.5 GiB (1000204886016 bytes)` */
export function describeIdentity(identity: DiskIdentity): string {
  const product = [identity.vendor, identity.model].filter((text) => text !== '').join(' ');
  const parts = [
    product === '' ? nameOf(identity) : product,
    ...(identity.serial === '' ? [] : [`serial ${identity.serial}`]),
    formatExactBytes(identity.sizeBytes),
  ];
  return `${identity.path}: ${parts.join(', ')}`;
}

const textFields = ['path', 'key', 'wwn', 'serial', 'model', 'vendor', 'partitionUuid'] as const;
const numberFields = ['sizeBytes', 'logicalBlockBytes', 'physicalBlockBytes', 'partitionStartBytes'] as const;

/** As pairs of texts for the superblock; what is unknown is left out. Keys of disks are of one boot and are not kept. */
export function identityToPairs(identity: DiskIdentity): Record<string, string> {
  const pairs: Record<string, string> = { kind: identity.kind };
  for (const field of textFields) if (identity[field] !== '') pairs[field] = identity[field];
  for (const field of numberFields) if (identity[field] !== 0) pairs[field] = String(identity[field]);
  return pairs;
}

/** The reverse of `identityToPairs`; unknown pairs are ignored, missing ones unknown. */
export function identityFromPairs(pairs: Readonly<Record<string, string>>): DiskIdentity {
  const text = (name: string): string => pairs[name] ?? '';
  const number = (name: string): number => {
    const value = Number(pairs[name] ?? 0);
    return Number.isSafeInteger(value) && value > 0 ? value : 0;
  };
  return {
    kind: kindOf(pairs['kind']),
    path: text('path'),
    strength: text('wwn') === '' && text('serial') === '' ? 'weak' : 'strong',
    key: text('key'),
    wholeDiskKeys: [],
    sizeBytes: number('sizeBytes'),
    logicalBlockBytes: number('logicalBlockBytes'),
    physicalBlockBytes: number('physicalBlockBytes'),
    wwn: text('wwn'),
    serial: text('serial'),
    model: text('model'),
    vendor: text('vendor'),
    partitionUuid: text('partitionUuid'),
    partitionStartBytes: number('partitionStartBytes'),
    rotational: false,
    writeCache: 'unknown',
  };
}

/** A record without a word that is known here is of a file: the weakest claim. */
function kindOf(word: string | undefined): DiskIdentity['kind'] {
  return word === 'block' || word === 'nbd' ? word : 'file';
}
