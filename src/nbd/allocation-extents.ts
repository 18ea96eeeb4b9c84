import type { Extent, ExtentState } from '../block/block-device.ts';
import type { StatusDescriptor } from './chunk-reader.ts';
import { AllocationFlag } from './constants.ts';

/**
 * Descriptors of `base:allocation` from `offset` as extents in whole blocks, no further than `length`. A block counts as zeros
 * only when all of it is; what is a hole and not zero has contents that nobody knows, and is data.
 */
export function extentsOfAllocation(
  descriptors: readonly StatusDescriptor[],
  offset: number,
  length: number,
  blockBytes: number,
): readonly Extent[] {
  const extents: Extent[] = [];
  const end = offset + length;
  let covered = offset;
  const addTo = (to: number, state: ExtentState): void => {
    if (to <= covered) return;
    const last = extents.at(-1);
    if (last?.state === state) extents[extents.length - 1] = { state, length: last.length + to - covered };
    else extents.push({ state, length: to - covered });
    covered = to;
  };
  let at = offset;
  // Where the run of equal states began that ends at `at`.
  let runStart = offset;
  for (const [index, descriptor] of descriptors.entries()) {
    const state = stateOf(descriptor.flags);
    const next = descriptors[index + 1];
    at = Math.min(at + descriptor.length, end);
    if (at < end && next !== undefined && stateOf(next.flags) === state) continue;
    if (state !== 'data') {
      addTo(Math.ceil(runStart / blockBytes) * blockBytes, 'data');
      addTo(Math.floor(at / blockBytes) * blockBytes, state);
    }
    runStart = at;
    if (at === end) break;
  }
  addTo(Math.min(Math.ceil(at / blockBytes) * blockBytes, end), 'data');
  return extents;
}

function stateOf(flags: number): ExtentState {
  if ((flags & AllocationFlag.zero) === 0) return 'data';
  return (flags & AllocationFlag.hole) === 0 ? 'zero' : 'hole';
}
