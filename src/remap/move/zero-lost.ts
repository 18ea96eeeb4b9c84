import { sectorBytes } from '../../block/block-device.ts';
import { DeviceError, type FailedRange } from '../../block/device-error.ts';
import { StateFlags } from '../../metadata/mapping-state.ts';
import type { RemapCore } from '../remap-core.ts';
import { unitsOf } from '../request/request-rounds.ts';

/**
 * R12, policy `on-lost=zero`: zeroes in the place of lost sectors, in the reply of one read of the export. Returns the error
 * that is left, or undefined. Only `RemapDevice.read` calls it: whatever reads for a move, a repair or a partial write goes
 * to the disks and never sees invented bytes.
 *
 * Only what the table lists as lost counts. A sector that main may still give, a path that is away, a request without an
 * answer stay errors; into the memory of the last one a disk may still write (I27).
 */
export function zeroLostSectors(
  core: RemapCore,
  target: Uint8Array,
  offset: number,
  error: DeviceError,
): DeviceError | undefined {
  const failed: FailedRange[] = [];
  let zeroed = false;
  for (const range of error.ranges) {
    for (const unit of unitsOf(range, sectorBytes)) {
      if (range.kind === 'timed-out' || !isLost(core, unit.offset)) {
        addRange(failed, { ...range, ...unit });
        continue;
      }
      target.fill(0, unit.offset - offset, unit.offset - offset + unit.length);
      zeroed = true;
    }
  }
  if (!zeroed) return error;
  core.counters.zeroedReads += 1;
  return failed.length === 0 ? undefined : new DeviceError(error.device, failed, { cause: error });
}

function isLost(core: RemapCore, offset: number): boolean {
  const { granuleBytes } = core.parts;
  const state = core.table.get(Math.floor(offset / granuleBytes));
  if (state === undefined) return false;
  const guessed = (state.flags & StateFlags.suspect) !== 0;
  const lost = guessed ? state.gone : state.unreadable | state.gone;
  return (lost & (1 << ((offset % granuleBytes) / sectorBytes))) !== 0;
}

function addRange(ranges: FailedRange[], range: FailedRange): void {
  const last = ranges.at(-1);
  const joins = last !== undefined && last.kind === range.kind && last.offset + last.length === range.offset;
  if (joins) ranges[ranges.length - 1] = { ...last, length: last.length + range.length };
  else ranges.push(range);
}
