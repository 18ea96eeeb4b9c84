import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { StateCursor } from '../../src/metadata/mapping-state.ts';
import { startCursor } from '../../src/metadata/mapping-state.ts';
import {
  failedRead,
  finish,
  makeStack,
  patternOf,
  readSectors,
  remappedGranules,
  type Stack,
  writeSectors,
} from './remap-stack.ts';

/** Records of a whole pass, in pieces of seven. */
function recordsOfPass(stack: Stack): number {
  let count = 0;
  let cursor: StateCursor | undefined = startCursor;
  while (cursor !== undefined) {
    const piece = stack.core.live.recordsAfter(cursor, 7);
    count += piece.records.length;
    cursor = piece.cursor;
  }
  return count;
}

describe('M18 a table that is full', () => {
  it('keeps a lost granule in its slot when no room for records without a slot is left', async () => {
    const lostGranulesMax = 2;
    const stack = makeStack({ lostGranulesMax });
    const lost = [10, 11, 12, 13, 14, 15];
    for (const granule of lost) {
      stack.mainDisk.faults.addBadSectors(granule * 8, 8, { on: 'both' });
      await writeSectors(stack, granule * 8, patternOf(granule * 8, 8));
    }
    // Every slot dies with all it holds: six granules of which nothing is left.
    stack.spareDisk.faults.addBadSectors(0, 256 * 8, { on: 'read' });
    for (const granule of lost) await failedRead(stack, granule * 8, 8);
    assert.ok(stack.spareDisk.faults.counts.badSectorReads >= lost.length);
    const { entries, remappedGranules: withSlot } = stack.core.table.totals();
    assert.equal(entries, lost.length, 'every loss is known');
    assert.equal(entries - withSlot, lostGranulesMax, 'as many without a slot as there is room for');
    const { slotsUsed, slotsRetired } = stack.device.status();
    assert.equal(recordsOfPass(stack), entries + slotsRetired);
    assert.ok(slotsUsed + slotsRetired + lostGranulesMax >= recordsOfPass(stack), 'a checkpoint holds it');
    for (const granule of lost) assert.equal(stack.core.stateOf(granule).gone, 0xff, 'R4 durably gone');
    // R23: a write brings each back, wherever its record is.
    stack.spareDisk.faults.removeBadSectors(0, 256 * 8);
    for (const granule of lost) {
      await writeSectors(stack, granule * 8, patternOf(granule * 8, 8, 2));
      assert.deepEqual(await readSectors(stack, granule * 8, 8), patternOf(granule * 8, 8, 2));
    }
    assert.deepEqual(remappedGranules(stack), lost);
    await finish(stack);
  });
});
