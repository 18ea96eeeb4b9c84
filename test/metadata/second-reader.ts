/**
 * A reader written from docs/on-disk-format.md alone. It shares no line with src/: where the two disagree, the page or the
 * program is wrong. Slow and simple; reads an image in memory; never repairs.
 */

export interface ReadRecord {
  /** 1 granules, 2 retired slots, 3 ended regions: `sectors` then counts regions, `mainSector` is the first one. */
  readonly type: number;
  readonly cause: number;
  readonly flags: number;
  readonly sectors: number;
  readonly held: number;
  readonly mainSector: number;
  /** -1 for all ones. */
  readonly spareSector: number;
  readonly unreadable: number;
  readonly gone: number;
  readonly time: number;
}

export interface ReadSpare {
  readonly uuid: string;
  readonly generation: number;
  readonly mainSectors: number;
  readonly granuleSectors: number;
  readonly logicalBlockBytes: number;
  /** 0 on a device that was not created fresh. */
  readonly freshSectors: number;
  readonly name: string;
  readonly mainIdentity: readonly (readonly [string, string])[];
  readonly policies: readonly (readonly [string, string])[];
  /** Undefined where there is no other spare. */
  readonly others: ReadOthers | undefined;
  readonly records: readonly ReadRecord[];
  readonly mark: ReadMark | undefined;
}

const polynomialReflected = 0x82f6_3b78;

function crc32c(parts: readonly Uint8Array[]): number {
  let crc = 0xffff_ffff;
  for (const part of parts) {
    for (const byte of part) {
      crc ^= byte;
      for (let bit = 0; bit < 8; bit += 1)
        crc = (crc & 1) === 1 ? (crc >>> 1) ^ polynomialReflected : crc >>> 1;
    }
  }
  return (crc ^ 0xffff_ffff) >>> 0;
}

class Block {
  readonly bytes: Uint8Array;
  readonly view: DataView;

  constructor(image: Uint8Array, offset: number) {
    this.bytes = image.subarray(offset, offset + 4096);
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, 4096);
  }

  u16(at: number): number {
    return this.view.getUint16(at, true);
  }

  u32(at: number): number {
    return this.view.getUint32(at, true);
  }

  u64(at: number): number {
    return Number(this.view.getBigUint64(at, true));
  }

  hex(at: number, bytes: number): string {
    return Buffer.from(this.bytes.subarray(at, at + bytes)).toString('hex');
  }

  isValid(magic: string): boolean {
    if (Buffer.from(this.bytes.subarray(0, 8)).toString('latin1') !== magic) return false;
    return this.u32(8) === crc32c([this.bytes.subarray(16, 32), this.bytes.subarray(12)]);
  }
}

interface Place {
  readonly superblock: number;
  readonly areas: readonly number[];
  readonly journals: readonly number[];
}

function placesOf(superblock: Block): Place[] {
  return Array.from({ length: superblock.u16(86) }, (_, index) => {
    const field = (number: number): number => superblock.u64(168 + index * 40 + number * 8) * 512;
    return { superblock: field(0), areas: [field(1), field(2)], journals: [field(3), field(4)] };
  });
}

function findSuperblocks(image: Uint8Array): Block[] {
  const mib = 1024 * 1024;
  const places = [64 * 1024, 64 * mib, Math.floor(image.length / mib) * mib - mib];
  const found: Block[] = [];
  for (const place of places) {
    for (const offset of [place, place + 4096]) {
      if (offset < 64 * 1024 || offset + 4096 > image.length) continue;
      const block = new Block(image, offset);
      if (!block.isValid('dmRMsupr')) continue;
      if (block.u16(12) !== 1 || (block.u32(40) & ~3) !== 0) throw new Error('newer than format 1');
      if (placesOf(block)[block.u16(84)]?.superblock === place) found.push(block);
    }
  }
  return found;
}

function recordsOf(block: Block): ReadRecord[] {
  return Array.from({ length: block.u16(68) }, (_, index) => {
    const at = 112 + index * 48;
    const noSlot = block.u32(at + 24) === 0xffff_ffff && block.u32(at + 28) === 0xffff_ffff;
    return {
      type: block.bytes[at]!,
      cause: block.bytes[at + 1]!,
      flags: block.u16(at + 2),
      sectors: block.u32(at + 8),
      held: block.u32(at + 12),
      mainSector: block.u64(at + 16),
      spareSector: noSlot ? -1 : block.u64(at + 24),
      unreadable: block.u32(at + 32),
      gone: block.u32(at + 36),
      time: block.u32(at + 40),
    };
  });
}

function readJournal(
  image: Uint8Array,
  candidate: Block,
  places: readonly Place[],
  reached: number,
): Block[] | undefined {
  const all: Block[] = [];
  for (const place of places) {
    for (const start of place.journals) {
      for (let index = 0; index < candidate.u32(160); index += 1) {
        const block = new Block(image, start + index * 4096);
        if (block.isValid('dmRMjrnl') && block.hex(16, 16) === candidate.hex(16, 16)) all.push(block);
      }
    }
  }
  const generation = candidate.u64(56);
  if (all.some((block) => block.u64(32) > generation + 1)) return undefined;
  const usable = all.filter(
    (block) =>
      block.u64(32) >= generation &&
      block.hex(40, 8) === candidate.hex(64, 8) &&
      block.u64(48) > candidate.u64(104),
  );
  const journal: Block[] = [];
  let end = candidate.u64(104) + 1;
  for (;;) {
    const previous = journal[journal.length - 1];
    const next = usable.find(
      (block) => block.u64(48) === end && (previous === undefined || block.u32(64) === previous.u32(8)),
    );
    if (next === undefined) break;
    journal.push(next);
    end += 1;
  }
  if (usable.some((block) => block.u64(56) > end) || reached >= end) return undefined;
  return journal;
}

function readCheckpoint(image: Uint8Array, candidate: Block, holders: readonly Block[]): Block[] | undefined {
  const blocks: Block[] = [];
  for (let index = 0; index < candidate.u32(92); index += 1) {
    const copies = holders.map((holder) => {
      const area = placesOf(holder)[holder.u16(84)]!.areas[holder.u16(88)]!;
      return new Block(image, area + index * 4096);
    });
    const good = copies.find(
      (block) =>
        block.isValid('dmRMckpt') &&
        block.hex(16, 16) === candidate.hex(16, 16) &&
        block.u64(32) === candidate.u64(56) &&
        block.hex(40, 8) === candidate.hex(64, 8) &&
        block.u64(48) === index &&
        block.u64(56) === candidate.u64(104) &&
        block.u32(64) === (index === 0 ? 0 : blocks[index - 1]!.u32(8)),
    );
    if (good === undefined) return undefined;
    blocks.push(good);
  }
  const checksums = blocks.map((block) => block.bytes.subarray(8, 12));
  const records = blocks.reduce((sum, block) => sum + block.u16(68), 0);
  if (records !== candidate.u32(96)) return undefined;
  return blocks.length === 0 || crc32c(checksums) === candidate.u32(100) ? blocks : undefined;
}

function pairsOf(value: Buffer): [string, string][] {
  const pairs: [string, string][] = [];
  for (let at = 0; at < value.length; ) {
    const keyEnd = at + 4 + value.readUInt16LE(at);
    const valueEnd = keyEnd + value.readUInt16LE(at + 2);
    pairs.push([value.toString('utf8', at + 4, keyEnd), value.toString('utf8', keyEnd, valueEnd)]);
    at = valueEnd;
  }
  return pairs;
}

function propertiesOf(superblock: Block): Map<number, Buffer> {
  const properties = new Map<number, Buffer>();
  const area = Buffer.from(superblock.bytes.subarray(384, 384 + superblock.u32(164)));
  for (let at = 0; at + 4 <= area.length && area.readUInt16LE(at) !== 0; ) {
    const length = area.readUInt16LE(at + 2);
    properties.set(area.readUInt16LE(at), area.subarray(at + 4, at + 4 + length));
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return properties;
}

export interface ReadOther {
  readonly uuid: string;
  readonly baseSector: number;
  readonly sectors: number;
  readonly epoch: string;
  readonly closed: boolean;
  readonly leaving: boolean;
  readonly identity: readonly [string, string][];
}

/** The spares beside this one, and the end of the row of slots in sectors. */
export interface ReadOthers {
  readonly rowSectors: number;
  readonly spares: readonly ReadOther[];
}

function othersOf(value: Buffer): ReadOthers {
  const spares: ReadOther[] = [];
  let at = 12;
  for (let index = 0; index < value.readUInt16LE(8); index += 1) {
    const flags = value.readUInt16LE(at + 40);
    const end = at + 44 + value.readUInt16LE(at + 42);
    spares.push({
      uuid: value.toString('hex', at, at + 16),
      baseSector: Number(value.readBigUInt64LE(at + 16)),
      sectors: Number(value.readBigUInt64LE(at + 24)),
      epoch: value.toString('hex', at + 32, at + 40),
      closed: (flags & 1) === 1,
      leaving: (flags & 2) === 2,
      identity: pairsOf(value.subarray(at + 44, end)),
    });
    at = end;
  }
  return { rowSectors: Number(value.readBigUInt64LE(0)), spares };
}

export interface ReadMark {
  readonly nonce: string;
  readonly heartbeat: number;
  readonly written: number;
  readonly intervalMs: number;
  readonly released: boolean;
  readonly machineId: string;
  readonly bootId: string;
  readonly pid: number;
  readonly startTicks: number;
  readonly hostName: string;
}

/** The in-use mark of the device that `superblock` describes. */
function markOf(image: Uint8Array, superblock: Block): ReadMark | undefined {
  const places = placesOf(superblock);
  const last = places[places.length - 1]!.superblock;
  const blocks = [64, 576]
    .map((distanceKib) => new Block(image, last + distanceKib * 1024))
    .filter((block) => block.isValid('dmRMinus') && block.hex(16, 16) === superblock.hex(16, 16));
  const [one, other] = blocks;
  if (one === undefined) return undefined;
  const field = other !== undefined && other.hex(32, 8) === one.hex(32, 8) ? 40 : 48;
  const mark = other !== undefined && other.u64(field) > one.u64(field) ? other : one;
  return {
    nonce: mark.hex(32, 8),
    heartbeat: mark.u64(40),
    written: mark.u64(48),
    intervalMs: mark.u32(56),
    released: (mark.u32(60) & 1) === 1,
    machineId: mark.hex(64, 16),
    bootId: mark.hex(80, 16),
    pid: mark.u32(96),
    startTicks: mark.u64(104),
    hostName: Buffer.from(mark.bytes.subarray(112, 112 + mark.u32(100))).toString('utf8'),
  };
}

/** The state of a spare, or undefined where the page says to refuse. */
export function readSpare(image: Uint8Array): ReadSpare | undefined {
  const superblocks = findSuperblocks(image);
  if (superblocks.length === 0) return undefined;
  const newest = superblocks.reduce((best, other) => (other.u64(48) > best.u64(48) ? other : best));
  if (superblocks.some((other) => other.hex(16, 16) !== newest.hex(16, 16))) return undefined;
  if (newest.u64(120) * 512 > image.length) return undefined;
  const inSync = (block: Block, replica: number): boolean => ((block.u32(80) >>> replica) & 1) === 1;
  const candidates = superblocks
    .filter((block) => inSync(newest, block.u16(84)) && inSync(block, block.u16(84)))
    .sort((a, b) => b.u64(56) - a.u64(56) || b.u64(48) - a.u64(48));
  const places = placesOf(newest).filter((_, replica) => inSync(newest, replica));
  const reached = Math.max(...candidates.map((block) => Math.max(block.u64(104), block.u64(336))));
  for (const candidate of candidates) {
    const holders = candidates.filter(
      (other) => other.hex(56, 16) === candidate.hex(56, 16) && other.hex(92, 20) === candidate.hex(92, 20),
    );
    const journal = readJournal(image, candidate, places, reached);
    const checkpoint = journal === undefined ? undefined : readCheckpoint(image, candidate, holders);
    if (journal === undefined || checkpoint === undefined) continue;
    const properties = propertiesOf(newest);
    const uuid = newest.hex(16, 16);
    return {
      uuid: [
        uuid.slice(0, 8),
        uuid.slice(8, 12),
        uuid.slice(12, 16),
        uuid.slice(16, 20),
        uuid.slice(20),
      ].join('-'),
      generation: candidate.u64(56),
      mainSectors: newest.u64(112),
      granuleSectors: newest.u32(128),
      logicalBlockBytes: newest.u32(132),
      freshSectors: (newest.u32(40) & 1) === 1 ? newest.u64(328) : 0,
      name: properties.get(1)?.toString('utf8') ?? '',
      mainIdentity: pairsOf(properties.get(2) ?? Buffer.alloc(0)),
      policies: pairsOf(properties.get(4) ?? Buffer.alloc(0)),
      others: (newest.u32(40) & 2) === 2 ? othersOf(properties.get(6)!) : undefined,
      records: [...checkpoint, ...journal].flatMap(recordsOf),
      mark: markOf(image, newest),
    };
  }
  return undefined;
}
