import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { withMemoryServer, withSocketServer } from './hostile/hostile-servers.ts';
import { runBoundaries, runMutations } from './hostile/hostile-stages.ts';

/** Each seed is another client. */
const seeds = [1, 20_261_120] as const;

describe('a hostile client', () => {
  for (const seed of seeds) {
    it(`that mutates its messages does what the well-formed ones say and harms nobody, seed ${seed}`, async () => {
      const outcome = await withMemoryServer(`${seed}`, (target) =>
        runMutations(target, { seed, from: 0, messages: 1_000 }),
      );
      for (const [what, count] of Object.entries(outcome)) assert.ok(count > 0, `${what}: none`);
    });
  }

  it('is judged in the same way over a socket', async () => {
    const outcome = await withSocketServer('7', (target) =>
      runMutations(target, { seed: 7, from: 0, messages: 200 }),
    );
    assert.ok(outcome.dropped > 0 && outcome.aborted > 0);
    assert.ok(outcome.changes > 0 && outcome.readsCompared > 0);
  });

  it('may cut its messages at every byte, and end or break off there', async () => {
    const outcome = await withMemoryServer('boundaries', (target) =>
      runBoundaries(target, { seed: 3, conversations: 1, requests: 4 }),
    );
    assert.ok(outcome.conversations > 1_000 && outcome.changes > 0 && outcome.readsCompared > 0);
    assert.equal(outcome.dropped, 0);
  });
});
