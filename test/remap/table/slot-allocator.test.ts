import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import fc from 'fast-check';
import { SlotAllocator } from '../../../src/remap/table/slot-allocator.ts';

type Command =
  | { readonly kind: 'allocate'; readonly wanted: number; readonly keepReserve: boolean }
  | { readonly kind: 'claim'; readonly slot: number; readonly slotCount: number }
  | { readonly kind: 'free' | 'retire'; readonly which: number };

const command: fc.Arbitrary<Command> = fc.oneof(
  fc.record({
    kind: fc.constant('allocate' as const),
    wanted: fc.integer({ min: 1, max: 9 }),
    keepReserve: fc.boolean(),
  }),
  fc.record({
    kind: fc.constant('claim' as const),
    slot: fc.integer({ min: -1, max: 310 }),
    slotCount: fc.integer({ min: 1, max: 4 }),
  }),
  fc.record({ kind: fc.constantFrom('free' as const, 'retire' as const), which: fc.nat() }),
);

describe('SlotAllocator', () => {
  it('M9, I15 gives only slots that are neither reserved, nor used, nor retired, and counts exactly', () => {
    const slotCount = 300;
    const reserved = [
      { slot: 0, slotCount: 17 },
      { slot: 10, slotCount: 10 },
      { slot: 290, slotCount: 100 },
    ];
    const initial = slotCount - 20 - 10;
    fc.assert(
      fc.property(fc.array(command, { maxLength: 200 }), (commands) => {
        const allocator = new SlotAllocator(slotCount, reserved);
        assert.equal(allocator.usableSlots, initial);
        assert.equal(allocator.reserveSlots, 64);
        const used = new Set<number>();
        const retired = new Set<number>();
        const isFree = (slot: number) => slot >= 20 && slot < 290 && !used.has(slot) && !retired.has(slot);
        for (const step of commands) {
          const free = initial - used.size - retired.size;
          if (step.kind === 'allocate') {
            const run = allocator.allocate(step.wanted, step.keepReserve);
            const allowed = step.keepReserve ? free - 64 : free;
            if (allowed <= 0) assert.equal(run, undefined);
            else {
              assert(
                run !== undefined && run.slotCount >= 1 && run.slotCount <= Math.min(step.wanted, allowed),
              );
              for (let slot = run.slot; slot < run.slot + run.slotCount; slot += 1) {
                assert(isFree(slot), `slot ${slot} was not free`);
                used.add(slot);
              }
            }
          } else if (step.kind === 'claim') {
            const slots = Array.from({ length: step.slotCount }, (_, index) => step.slot + index);
            const possible = slots.every(isFree);
            assert.equal(allocator.claim(step.slot, step.slotCount), possible);
            if (possible) for (const slot of slots) used.add(slot);
          } else if (used.size > 0) {
            const slot = [...used][step.which % used.size]!;
            used.delete(slot);
            if (step.kind === 'free') allocator.free(slot);
            else {
              allocator.retire(slot);
              retired.add(slot);
            }
          }
          assert.equal(allocator.usedSlots, used.size);
          assert.equal(allocator.retiredSlots, retired.size);
          assert.equal(allocator.freeSlots, initial - used.size - retired.size);
        }
      }),
      { numRuns: 200 },
    );
  });

  it('goes round the spare before it gives a freed slot again', () => {
    const allocator = new SlotAllocator(8, []);
    const first = allocator.allocate(1, false)!;
    allocator.free(first.slot);
    const given = Array.from({ length: 8 }, () => allocator.allocate(1, false)!.slot);
    assert.deepEqual(given, [1, 2, 3, 4, 5, 6, 7, 0]);
    assert.equal(allocator.allocate(1, false), undefined);
  });

  it('R31 keeps the last 1 % or 64 slots for client writes, and never more than half of a tiny spare', () => {
    for (const [slots, reserve] of [
      [10, 5],
      [1000, 64],
      [100_000, 1000],
    ] as const) {
      const allocator = new SlotAllocator(slots, []);
      assert.equal(allocator.reserveSlots, reserve);
      let given = 0;
      while (allocator.allocate(1, true) !== undefined) given += 1;
      assert.equal(given, slots - reserve);
      for (let left = reserve; left > 0; left -= 1) assert(allocator.allocate(1, false) !== undefined);
      assert.equal(allocator.allocate(1, false), undefined);
    }
  });
});
