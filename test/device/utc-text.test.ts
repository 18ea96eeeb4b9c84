import assert from 'node:assert/strict';
import { it } from 'node:test';
import { utcText } from '../../src/device/utc-text.ts';

it('says when it was, and the number where no date is so late', () => {
  assert.equal(utcText(1_767_225_600), '2026-01-01 00:00:00 UTC');
  assert.equal(utcText(8_640_000_000_000), '+275760-09-13 00:00:00 UTC');
  assert.equal(utcText(8_640_000_000_001), '8640000000001 s after 1970');
  assert.equal(utcText(Number.MAX_SAFE_INTEGER), '9007199254740991 s after 1970');
});
