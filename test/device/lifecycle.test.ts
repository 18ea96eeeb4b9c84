import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AssertionFailure } from '../../src/block/assert.ts';
import { Lifecycle, type LifecycleVerb } from '../../src/device/lifecycle.ts';
import type { LifecycleState } from '../../src/device/messages.ts';

const states: readonly LifecycleState[] = [
  'starting',
  'serving',
  'suspended',
  'removing',
  'removed',
  'failed',
];
const verbs: readonly LifecycleVerb[] = ['message', 'suspend', 'resume', 'remove'];

/** A way to each state that uses only arrows. */
const wayTo: Readonly<Record<LifecycleState, readonly LifecycleState[]>> = {
  starting: [],
  serving: ['serving'],
  suspended: ['serving', 'suspended'],
  removing: ['serving', 'removing'],
  removed: ['serving', 'removing', 'removed'],
  failed: ['failed'],
};

function lifecycleIn(state: LifecycleState): Lifecycle {
  const lifecycle = new Lifecycle();
  for (const next of wayTo[state]) lifecycle.moveTo(next);
  return lifecycle;
}

test('a device that serves is removed by way of removing', () => {
  const lifecycle = new Lifecycle();
  for (const state of ['serving', 'removing', 'removed'] as const) lifecycle.moveTo(state);
  assert.equal(lifecycle.state, 'removed');
});

test('R30 a device is suspended and resumed any number of times, and removed from either state', () => {
  const lifecycle = new Lifecycle();
  for (const state of ['serving', 'suspended', 'serving', 'suspended', 'removing', 'removed'] as const) {
    lifecycle.moveTo(state);
  }
  assert.equal(lifecycle.canMoveTo('serving'), false);
});

test('a move without an arrow is a bug', () => {
  const lifecycle = new Lifecycle();
  lifecycle.moveTo('failed');
  assert.throws(() => lifecycle.moveTo('serving'), AssertionFailure);
  assert.equal(lifecycle.state, 'failed');
});

test('R30 a removal that waits for a disk in vain gives back the state it came from', () => {
  for (const before of ['serving', 'suspended'] as const) {
    const lifecycle = lifecycleIn(before);
    lifecycle.moveTo('removing');
    lifecycle.moveTo(before);
    assert.equal(lifecycle.state, before);
  }
});

test('I21 every verb is allowed or refused in one line in every state', () => {
  const refused = states.map((state) => {
    const lifecycle = lifecycleIn(state);
    return [state, verbs.filter((verb) => lifecycle.refusalOf(verb) !== undefined)];
  });
  assert.deepEqual(refused, [
    ['starting', ['message', 'suspend', 'resume']],
    ['serving', []],
    ['suspended', []],
    ['removing', ['message', 'suspend', 'resume']],
    ['removed', ['message', 'suspend', 'resume']],
    ['failed', ['message', 'suspend', 'resume', 'remove']],
  ]);
  assert.equal(lifecycleIn('removing').refusalOf('suspend'), 'suspend: not now, it is being removed');
  assert.equal(
    lifecycleIn('starting').refusalOf('message'),
    'message: not now, it is starting: try again when it serves',
  );
});

test('no sequence of moves brings a device back that has ended', () => {
  fc.assert(
    fc.property(fc.array(fc.constantFrom(...states), { maxLength: 40 }), (moves) => {
      const lifecycle = new Lifecycle();
      let ended: LifecycleState | undefined;
      for (const next of moves) {
        if (!lifecycle.canMoveTo(next)) continue;
        lifecycle.moveTo(next);
        assert.equal(ended, undefined);
        if (next === 'removed' || next === 'failed') ended = next;
      }
    }),
  );
});
