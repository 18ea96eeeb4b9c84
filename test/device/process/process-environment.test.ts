import assert from 'node:assert/strict';
import { test } from 'node:test';
import { environmentForMemory } from '../../../src/device/process/process-environment.ts';

test('threads share one arena, unless somebody has chosen how many', () => {
  assert.deepEqual(environmentForMemory({}), { MALLOC_ARENA_MAX: '1' });
  assert.deepEqual(environmentForMemory({ MALLOC_ARENA_MAX: '4' }), {});
});
