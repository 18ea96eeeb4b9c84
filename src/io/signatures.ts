/**
 * What is on a disk, judged by the signatures that blkid knows, so that `create` never overwrites somebody's data
 * (M17). Reads only the blocks in which signatures lie. A block that cannot be read may hide one: it is reported, and
 * never taken for an empty one.
 */
import {
  type DiskBytes,
  findBootRecord,
  type SignatureForm,
  type SignatureUsage,
  signatureForms,
} from './signature-table.ts';

/** Reads `length` bytes at `offset`, both multiples of 4096 but for a ragged end; rejects when the disk cannot. */
export type ReadAt = (offset: number, length: number) => Promise<Uint8Array>;

export interface FoundSignature {
  /** For people: `ext4`, `LVM2 physical volume`. */
  readonly name: string;
  readonly usage: SignatureUsage;
  /** Byte offset of the first place where its magic was found. */
  readonly offset: number;
  /** Empty when it has none. */
  readonly label: string;
}

/** A range in which a signature could be, and that could not be read. Bytes. */
export interface UnreadableRegion {
  readonly offset: number;
  readonly length: number;
}

export interface SignatureReport {
  readonly signatures: readonly FoundSignature[];
  readonly unreadable: readonly UnreadableRegion[];
}

/** Our own mark, which this room does not know: its magic and where it may stand. */
export interface OwnSignature {
  readonly name: string;
  readonly magic: Uint8Array;
  readonly offsets: readonly number[];
}

/** Unit of reading: no logical block is larger, and no superblock's beginning spans two of them. */
const blockBytes = 4096;

/** Neighbouring blocks are read together up to this: the rings of ZFS labels are 128 KiB. */
const readBytesMax = 128 * 1024;

/** Bytes from a place on that a form looks at beside the magic: labels and confirming fields. */
const aroundBytes = 512;

/** Reads wanted blocks, remembers them, and remembers which could not be read. */
class BlockCache implements DiskBytes {
  readonly sizeBytes: number;
  readonly #readAt: ReadAt;
  readonly #blocks = new Map<number, Uint8Array>();
  readonly #unreadable = new Set<number>();

  constructor(readAt: ReadAt, sizeBytes: number) {
    this.#readAt = readAt;
    this.sizeBytes = sizeBytes;
  }

  /** Reads every block that one of the ranges touches. */
  async load(ranges: readonly (readonly [offset: number, length: number])[]): Promise<void> {
    const wanted = new Set<number>();
    for (const [offset, length] of ranges) {
      const end = Math.min(offset + length, this.sizeBytes);
      for (let block = Math.floor(Math.max(offset, 0) / blockBytes); block * blockBytes < end; block += 1) {
        wanted.add(block);
      }
    }
    const sorted = [...wanted].sort((one, other) => one - other);
    for (let first = 0; first < sorted.length; ) {
      let next = first + 1;
      while (sorted[next] === sorted[next - 1]! + 1 && (next - first) * blockBytes < readBytesMax) next += 1;
      await this.#readRun(sorted[first]!, next - first);
      first = next;
    }
  }

  async #readRun(first: number, count: number): Promise<void> {
    const offset = first * blockBytes;
    const length = Math.min(count * blockBytes, this.sizeBytes - offset);
    let bytes: Uint8Array;
    try {
      bytes = await this.#readAt(offset, length);
    } catch {
      // One bad block must not hide its neighbours.
      if (count === 1) this.#unreadable.add(first);
      else for (let block = first; block < first + count; block += 1) await this.#readRun(block, 1);
      return;
    }
    for (let block = 0; block < count; block += 1) {
      this.#blocks.set(first + block, bytes.subarray(block * blockBytes, (block + 1) * blockBytes));
    }
  }

  at(offset: number, length: number): Uint8Array | undefined {
    if (offset < 0 || offset + length > this.sizeBytes) return undefined;
    const gathered = new Uint8Array(length);
    for (let done = 0; done < length; ) {
      const place = offset + done;
      const inside = place % blockBytes;
      const piece = this.#blocks.get((place - inside) / blockBytes)?.subarray(inside, inside + length - done);
      if (piece === undefined || piece.length === 0) return undefined;
      gathered.set(piece, done);
      done += piece.length;
    }
    return gathered;
  }

  unreadable(): readonly UnreadableRegion[] {
    const regions: { offset: number; length: number }[] = [];
    for (const block of [...this.#unreadable].sort((one, other) => one - other)) {
      const offset = block * blockBytes;
      const length = Math.min(blockBytes, this.sizeBytes - offset);
      const last = regions.at(-1);
      if (last !== undefined && last.offset + last.length === offset) last.length += length;
      else regions.push({ offset, length });
    }
    return regions;
  }
}

function placesOf(form: SignatureForm, sizeBytes: number): readonly number[] {
  const places = typeof form.places === 'function' ? form.places(sizeBytes) : form.places;
  return places.filter((place) => place >= 0 && place + form.magic.length <= sizeBytes);
}

function hasMagic(disk: DiskBytes, place: number, magic: Uint8Array): boolean {
  const found = disk.at(place, magic.length);
  return found?.every((byte, at) => byte === magic[at]) === true;
}

function search(disk: DiskBytes, form: SignatureForm): FoundSignature | undefined {
  const place = placesOf(form, disk.sizeBytes).find(
    (one) => hasMagic(disk, one, form.magic) && form.confirm?.(disk, one) !== false,
  );
  if (place === undefined) return undefined;
  return {
    name: form.refine?.(disk, place) ?? form.name,
    usage: form.usage,
    offset: place,
    label: form.label?.(disk, place) ?? '',
  };
}

/**
 * Everything known on the disk, in the order of the table, each kind once. `own` names marks of ours to look for.
 * Never rejects for what the disk does; see `unreadable`.
 */
export async function findSignatures(
  readAt: ReadAt,
  sizeBytes: number,
  own: readonly OwnSignature[] = [],
): Promise<SignatureReport> {
  const ownForms = own.map(
    ({ name, magic, offsets }): SignatureForm => ({ name, usage: 'dm-remap', places: offsets, magic }),
  );
  const forms = [...ownForms, ...signatureForms];
  const disk = new BlockCache(readAt, sizeBytes);
  await disk.load([
    [0, 512],
    ...forms.flatMap((form) =>
      placesOf(form, sizeBytes).map((place) => [place, form.magic.length + aroundBytes] as const),
    ),
  ]);
  const signatures: FoundSignature[] = [];
  for (const form of forms) {
    const found = search(disk, form);
    if (found !== undefined && !signatures.some((one) => one.name === found.name)) signatures.push(found);
  }
  const bootRecord = findBootRecord(disk);
  // Boot sectors of file systems carry the same mark and code where the entries would be.
  const bootSector = signatures.some((one) => ['vfat', 'ntfs', 'exfat'].includes(one.name));
  const protectsKnown =
    bootRecord?.startsWith('protective') === true && signatures.some((one) => one.name.startsWith('GPT'));
  if (bootRecord !== undefined && !bootSector && !protectsKnown) {
    signatures.push({ name: bootRecord, usage: 'partition table', offset: 510, label: '' });
  }
  return { signatures, unreadable: disk.unreadable() };
}

/** `ext4 file system, label data` */
export function describeSignature({ name, usage, label }: FoundSignature): string {
  const kind = usage === 'file system' && !name.includes('pool') ? `${name} file system` : name;
  return label === '' ? kind : `${kind}, label ${label}`;
}

/** One line of everything found, for messages; empty when the disk carries nothing known and could be read. */
export function explainSignatures({ signatures, unreadable }: SignatureReport): string {
  const unread = unreadable.map(
    ({ offset, length }) => `unreadable region at byte ${offset}, length ${length}`,
  );
  const [first, ...others] = unread;
  const more = others.length === 0 ? first : `${first} and ${others.length} more`;
  return [...signatures.map(describeSignature), ...(more === undefined ? [] : [more])].join('; ');
}
