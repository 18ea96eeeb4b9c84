import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { arenaPageBytes, PagedArena } from '../../src/block/buffer-arena.ts';

function arenaOf(clientPages: number, remapPages = 0, metadataPages = 0): PagedArena {
  const pages = clientPages + remapPages + metadataPages;
  return new PagedArena(new ArrayBuffer(pages * arenaPageBytes), {
    remapBytes: remapPages * arenaPageBytes,
    metadataBytes: metadataPages * arenaPageBytes,
    poison: true,
  });
}

/** Whether every page can be had at once: nothing is lost, nothing is given twice. */
function assertWhole(arena: PagedArena, clientPages: number): void {
  const pieces: Uint8Array[] = [];
  for (;;) {
    const piece = arena.take(1, 'client');
    if (piece === undefined) break;
    pieces.push(piece);
  }
  assert.equal(pieces.length, clientPages);
  assert.equal(new Set(pieces.map(({ byteOffset }) => byteOffset)).size, clientPages);
  for (const piece of pieces) arena.release(piece);
  assert.equal(arena.usedBytes, 0);
}

test('a piece has the length asked for and starts on a page', () => {
  const arena = arenaOf(16);
  const piece = arena.take(5000, 'client')!;
  assert.equal(piece.length, 5000);
  assert.equal(piece.byteOffset % arenaPageBytes, 0);
  assert.equal(arena.usedBytes, 2 * arenaPageBytes);
  arena.release(piece);
  assertWhole(arena, 16);
});

test('what was freed last is given out first', () => {
  const arena = arenaOf(64);
  const [first, second] = [arena.take(1, 'client')!, arena.take(1, 'client')!];
  arena.release(first);
  assert.equal(arena.take(1, 'client')!.byteOffset, first.byteOffset);
  arena.release(second);
  assert.equal(arena.take(1, 'client')!.byteOffset, second.byteOffset);
});

test('I14 no reserve takes from another, and each gives its largest piece whatever the others gave', () => {
  const arena = arenaOf(23, 4, 3);
  assert.deepEqual(
    (['client', 'remap', 'metadata'] as const).map((reserve) => arena.largestPiece(reserve) / arenaPageBytes),
    [16, 4, 2],
  );
  for (const reserve of ['client', 'remap', 'metadata'] as const) {
    assert.ok(arena.take(arena.largestPiece(reserve), reserve), reserve);
  }
  const rest = [arena.take(4 * arenaPageBytes, 'client'), arena.take(2 * arenaPageBytes, 'client')];
  assert.ok(rest.every((piece) => piece !== undefined));
  assert.ok(arena.take(1, 'client'));
  assert.equal(arena.take(1, 'client'), undefined, 'all 23 pages are out');
  assert.equal(arena.take(1, 'remap'), undefined);
  assert.ok(arena.take(1, 'metadata'));
});

test('I27 a piece is free when its last owner has released it, by any view inside it', () => {
  const arena = arenaOf(23, 4, 3);
  for (const reserve of ['client', 'remap', 'metadata'] as const) {
    const piece = arena.take(2 * arenaPageBytes, reserve)!;
    arena.hold(piece.subarray(arenaPageBytes + 512, arenaPageBytes + 1024));
    arena.hold(piece.subarray(1, 2));
    arena.release(piece);
    assert.ok(arena.isShared(piece));
    arena.release(piece.subarray(arenaPageBytes));
    assert.ok(!arena.isShared(piece.subarray(arenaPageBytes)));
    assert.equal(arena.usedBytes, 2 * arenaPageBytes);
    const freeBytes = { client: 23, remap: 4, metadata: 3 }[reserve] * arenaPageBytes - arena.usedBytes;
    assert.equal(arena.freeBytes(reserve), freeBytes);
    piece.fill(7);
    arena.release(piece.subarray(2 * arenaPageBytes - 1));
    assert.equal(arena.usedBytes, 0);
    assert.equal(arena.freeBytes(reserve), freeBytes + 2 * arenaPageBytes);
    assert.ok(
      piece.every((byte) => byte === 0xdb),
      'released memory is poisoned',
    );
    assert.throws(() => arena.release(piece), { name: 'AssertionFailure' });
  }
});

test('who waits is served first come, first served, and nobody overtakes', async () => {
  const arena = arenaOf(4);
  const all = arena.take(4 * arenaPageBytes, 'client')!;
  const order: string[] = [];
  const large = arena.whenFree(4 * arenaPageBytes, 'client').then((piece) => {
    order.push('large');
    arena.release(piece);
  });
  const small = arena.whenFree(1, 'client').then((piece) => {
    order.push('small');
    arena.release(piece);
  });
  arena.release(all);
  assert.equal(arena.take(1, 'client'), undefined);
  await Promise.all([large, small]);
  assert.deepEqual(order, ['large', 'small']);
  assertWhole(arena, 4);
});

test('any pieces in any order never overlap, and come together again to the whole', () => {
  const step = fc.oneof(
    fc.record({ take: fc.integer({ min: 1, max: 20 * arenaPageBytes }) }),
    fc.record({ release: fc.nat() }),
  );
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 70 }), fc.array(step, { maxLength: 120 }), (clientPages, steps) => {
      const arena = arenaOf(clientPages, 3, 2);
      const owned = new Map<Uint8Array, number>();
      let mark = 0;
      for (const { take, release } of steps.map((each) => ({
        take: undefined,
        release: undefined,
        ...each,
      }))) {
        if (take !== undefined) {
          const piece = take <= arena.largestPiece('client') ? arena.take(take, 'client') : undefined;
          if (piece === undefined) continue;
          assert.equal(piece.length, take);
          assert.ok(piece.byteOffset + take <= clientPages * arenaPageBytes, 'inside its reserve');
          mark = (mark + 1) & 0x7f;
          piece.fill(mark);
          owned.set(piece, mark);
        } else if (owned.size > 0) {
          const [piece, written] = [...owned][release % owned.size]!;
          assert.ok(
            piece.every((byte) => byte === written),
            'nobody else wrote into it',
          );
          owned.delete(piece);
          arena.release(piece);
        }
      }
      for (const piece of owned.keys()) arena.release(piece);
      assert.equal(arena.usedBytes, 0);
      const largest = arena.take(arena.largestPiece('client'), 'client');
      assert.ok(largest, 'neighbours were joined');
      arena.release(largest);
      assertWhole(arena, clientPages);
    }),
    { numRuns: 60 },
  );
});
