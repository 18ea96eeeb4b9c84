import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { Judge, JudgeViolation } from '../../src/simulator/world/judge.ts';

/** Reads sector 0 as that version of it. */
function readVersion(judge: Judge, version: number): void {
  judge.readAnswered(judge.readBegun(0, 1), Buffer.from(judge.contents.make(version, 0, 1)), new Set());
}

function write(judge: Judge): number {
  const version = judge.newVersion();
  judge.contents.make(version, 0, 1);
  judge.writeBegun(0, 1, version);
  judge.writeAcknowledged(0, 1, version, false);
  return version;
}

describe('Judge', () => {
  it('expects nothing of what a lie has lost, again when the power takes the write that was to end that, until a flush', () => {
    const judge = new Judge(1, 1);
    write(judge);
    judge.flushAcknowledged(judge.flushBegun(), true);
    judge.excuse(0);
    readVersion(judge, 0);
    const version = write(judge);
    assert.throws(() => readVersion(judge, 0), JudgeViolation);
    const cut = judge.fork();
    cut.powerCut([]);
    readVersion(cut, 0);
    judge.flushAcknowledged(judge.flushBegun(), true);
    judge.powerCut([]);
    readVersion(judge, version);
    assert.throws(() => readVersion(judge, 0), JudgeViolation);
  });

  it('R13 takes zeros of a fresh sector from a read that a write has overtaken, and from none that begins behind it', () => {
    const judge = new Judge(1, 1, true);
    judge.wentBad(0);
    const overtaken = judge.readBegun(0, 1);
    write(judge);
    judge.readAnswered(overtaken, Buffer.alloc(512), new Set());
    assert.throws(
      () => judge.readAnswered(judge.readBegun(0, 1), Buffer.alloc(512), new Set()),
      JudgeViolation,
    );
  });
});
