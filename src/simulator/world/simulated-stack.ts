import type { BlockDevice } from '../../block/block-device.ts';
import { PagedArena } from '../../block/buffer-arena.ts';
import type { Clock, Random } from '../../block/clock.ts';
import { MetadataStore } from '../../metadata/metadata-store.ts';
import { openRemapDevice } from '../../remap/open-remap.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import { JudgeViolation } from './judge.ts';
import type { WorldGeometry } from './world-geometry.ts';

/** Enough for a move of the largest granule in each reserve. */
const arenaBytes = 1 << 19;

export interface StackParts {
  readonly main: BlockDevice;
  readonly spare: BlockDevice;
  readonly arena: PagedArena;
  readonly clock: Clock;
  readonly random: Random;
}

export function newArena(): PagedArena {
  return new PagedArena(new ArrayBuffer(arenaBytes), {
    remapBytes: arenaBytes / 4,
    metadataBytes: arenaBytes / 4,
    poison: true,
  });
}

/** Formats the spare, as `create` does. */
export function createMetadata(parts: StackParts, geometry: WorldGeometry): Promise<void> {
  const { spare, arena, clock, random } = parts;
  return MetadataStore.create(
    { spare, arena, clock, random },
    {
      mainSizeBytes: geometry.mainSectors * 512,
      logicalBlockBytes: geometry.logicalBlockBytes,
      granuleBytes: geometry.granuleBytes,
      properties: { name: 'world', mainIdentity: {}, spareIdentity: {}, policies: {} },
      layout: geometry.layout,
      fresh: geometry.fresh,
    },
  );
}

export interface OpenedStack {
  readonly device: RemapDevice;
  readonly metadata: MetadataStore;
  /** What the spare keeps of scrubs. */
  readonly scrubs: Readonly<Record<string, string>> | undefined;
}

/** Opens the shipped stack over two disks. */
export async function openStack(parts: StackParts): Promise<OpenedStack> {
  const { main, spare, arena, clock, random } = parts;
  const metadata = await MetadataStore.open({ spare, arena, clock, random });
  const device = await openRemapDevice({ main, spare, metadata, arena, clock });
  return { device, metadata: metadata.store, scrubs: metadata.facts.properties.scrub };
}

/** Closes it and sees that nothing of it is left (I7, I24). */
export async function closeStack(device: RemapDevice, parts: StackParts): Promise<void> {
  await device.close();
  if (device.inFlight !== 0) throw new JudgeViolation(`${device.inFlight} requests in flight after close`);
  await Promise.all([parts.main.close(), parts.spare.close()]);
  const { usedBytes } = parts.arena;
  if (usedBytes !== 0) throw new JudgeViolation(`${usedBytes} bytes of the arena are still out after close`);
}
