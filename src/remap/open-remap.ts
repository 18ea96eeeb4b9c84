import { assert } from '../block/assert.ts';
import type { BlockDevice, Geometry } from '../block/block-device.ts';
import type { BufferArena } from '../block/buffer-arena.ts';
import type { Clock, Random } from '../block/clock.ts';
import { noSlot } from '../metadata/mapping-state.ts';
import { MetadataError } from '../metadata/metadata-error.ts';
import type { OpenedMetadata, SettleOptions } from '../metadata/metadata-store.ts';
import { relocationBufferBytes } from './move/move-memory.ts';
import { RemapCore } from './remap-core.ts';
import { RemapDevice } from './remap-device.ts';
import { type FoundMember, SpareMembers } from './spare/spare-members.ts';
import { SlotAllocator, type SlotRun } from './table/slot-allocator.ts';

export interface OpenRemapParts {
  readonly main: BlockDevice;
  readonly spare: BlockDevice;
  /** What `MetadataStore.open` gave for this spare. */
  readonly metadata: OpenedMetadata;
  readonly arena: BufferArena;
  readonly clock: Clock;
  /** The spares beside it, each as the home names it; default: none. */
  readonly members?: { readonly found: readonly FoundMember[]; readonly random: Random };
}

export interface OpenRemapOptions {
  /** R24: read back what is written to a slot for the first time. Off where reading back proves nothing. Default true. */
  readonly verifySlots?: boolean;
  readonly settle?: SettleOptions;
}

/** Main or spare does not go with the stored table; one line. Codes: `REMAP_WRONG_MAIN`, `REMAP_UNSUITABLE_SPARE`. */
export class RemapOpenError extends Error {
  override readonly name = 'RemapOpenError';
  readonly code: 'REMAP_WRONG_MAIN' | 'REMAP_UNSUITABLE_SPARE';

  constructor(code: 'REMAP_WRONG_MAIN' | 'REMAP_UNSUITABLE_SPARE', message: string) {
    super(message);
    this.code = code;
  }
}

/**
 * Puts main and spare together again: loads the table, derives the allocator (M9), settles the metadata (M5). No I/O
 * reaches the device before that (I5). Throws `MetadataError` or `RemapOpenError`; nothing is then open that was not before.
 */
export async function openRemapDevice(
  parts: OpenRemapParts,
  options: OpenRemapOptions = {},
): Promise<RemapDevice> {
  const { main, spare, metadata, arena, clock } = parts;
  const { facts, layout, store } = metadata;
  const geometry = geometryOf(main, spare, metadata);
  const moveBytes = relocationBufferBytes(facts.granuleBytes);
  assert(
    arena.largestPiece('remap') >= moveBytes,
    'openRemapDevice: the remap reserve is too small for one move',
  );
  const allocator = new SlotAllocator(
    Math.floor(layout.spareSizeBytes / facts.granuleBytes),
    layout.reservedRanges().map((range) => slotsOf(range.offset, range.length, facts.granuleBytes)),
  );
  const core = new RemapCore({
    main,
    spare,
    metadata: store,
    allocator,
    sizeBytes: facts.mainSizeBytes,
    granuleBytes: facts.granuleBytes,
    lostGranulesMax: layout.lostRangesMax,
    arena,
    clock,
    verifySlots: options.verifySlots ?? true,
    freshSizeBytes: facts.freshSizeBytes,
    storedPolicies: (options.settle?.properties ?? facts.properties).policies,
  });
  const { name } = options.settle?.properties ?? facts.properties;
  const members = placeMembers(parts, core, name);
  core.live.activate(metadata.records);
  deriveAllocator(core);
  const entries = await members?.claim();
  await store.settle(core.live, { ...options.settle, ...(entries && { members: entries }) });
  await members?.confirm();
  return new RemapDevice(facts.properties.name, geometry, core, store, members);
}

/** Undefined where nobody can add one either: a device in a table, or a test. */
function placeMembers(
  { members, metadata, arena, clock }: OpenRemapParts,
  core: RemapCore,
  deviceName: string,
): SpareMembers | undefined {
  if (members === undefined) {
    if (metadata.facts.members.length === 0) return undefined;
    throw new RemapOpenError(
      'REMAP_UNSUITABLE_SPARE',
      `${deviceName} has ${metadata.facts.members.length + 1} spares, and only one is given: serve it with "dm-remap assemble"`,
    );
  }
  const surroundings = { arena, clock, random: members.random };
  const all = new SpareMembers({ core, store: metadata.store, surroundings, deviceName });
  all.place(members.found);
  return all;
}

/** R10: the virtual device has main's logical block and its size at create, M21: a grown main keeps the old size. */
function geometryOf(main: BlockDevice, spare: BlockDevice, metadata: OpenedMetadata): Geometry {
  const { facts } = metadata;
  if (main.geometry.sizeBytes < facts.mainSizeBytes) {
    throw new RemapOpenError(
      'REMAP_WRONG_MAIN',
      `main ${main.name} has ${main.geometry.sizeBytes} bytes, the table is for ${facts.mainSizeBytes}: ` +
        'name the disk it was made for, or one of at least that size that holds a copy of it',
    );
  }
  if (main.geometry.logicalBlockBytes !== facts.logicalBlockBytes) {
    throw new RemapOpenError(
      'REMAP_WRONG_MAIN',
      `main ${main.name} has logical blocks of ${main.geometry.logicalBlockBytes} bytes, the table is for ` +
        `${facts.logicalBlockBytes}: name the disk it was made for`,
    );
  }
  if (spare.geometry.logicalBlockBytes > facts.granuleBytes) {
    throw new RemapOpenError(
      'REMAP_UNSUITABLE_SPARE',
      `spare ${spare.name} has logical blocks of ${spare.geometry.logicalBlockBytes} bytes, its table is for blocks of ` +
        `${facts.granuleBytes}: put the copy on a disk with blocks as small as that`,
    );
  }
  return {
    sizeBytes: facts.mainSizeBytes,
    logicalBlockBytes: facts.logicalBlockBytes,
    physicalBlockBytes: facts.granuleBytes,
  };
}

function slotsOf(offset: number, length: number, granuleBytes: number): SlotRun {
  const slot = Math.floor(offset / granuleBytes);
  return { slot, slotCount: Math.ceil((offset + length) / granuleBytes) - slot };
}

/** I15, I16: every slot the table names is taken, once, and retired ones for ever. Anything else is damage. */
function deriveAllocator(core: RemapCore): void {
  const { slots } = core;
  for (
    let state = core.table.atOrAfter(0);
    state !== undefined;
    state = core.table.atOrAfter(state.granule + 1)
  ) {
    if (state.slot === noSlot || slots.claim(state.slot, 1)) continue;
    throw new MetadataError(
      'METADATA_CORRUPT',
      `slot ${state.slot} of granule ${state.granule} is used twice or is no slot: examine the spare, restore a copy of it`,
    );
  }
  core.claimRetired();
}
