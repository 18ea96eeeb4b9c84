import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { seenIn } from './kernel-tests.ts';
import { type LoggedRun, logBytes, loggedSpareBytes } from './logged-run.ts';
import { MachineLab, missingForGuest } from './machine.ts';
import { replayRemaps } from './replay-remaps.ts';

/** dm-log-writes under the spare: what the kernel saw arrive there, opened as after a power cut behind each of it. */
export function writeLogTests(run: LoggedRun): void {
  describe('a spare whose writes are logged by the kernel', { skip: missingForGuest() }, () => {
    it('I12 M5 dm-log-writes: behind every flush and FUA write, each acknowledged record is there', async (context) => {
      const lab = new MachineLab();
      try {
        const log = lab.image('log.img', logBytes);
        const disks = [lab.image('spare.img', loggedSpareBytes), log];
        const title = 'writes to bad sectors';
        const plan = { story: 'logged-remaps', ...run } as const;
        const result = await lab.boot({ stories: [{ title, plan, limitSeconds: 400 }], disks });
        const seen = seenIn(result, title);
        const report = await replayRemaps(log, run.badCount);
        const { entries, flushes, fuaWrites, marks, opened, sectorsRead } = report;
        assert.equal(marks, run.badCount * run.rounds + 2, 'each mark is in the log');
        assert.ok(flushes + fuaWrites > run.badCount / 4, 'what was acknowledged was made durable');
        assert.ok(opened > marks, `only ${opened} states could be opened`);
        context.diagnostic(
          `${seen}; ${entries} entries, ${flushes} flushes, ${fuaWrites} FUA writes, ${marks} marks; ` +
            `${opened} states opened, ${sectorsRead} acknowledged sectors read in them`,
        );
      } finally {
        lab.close();
      }
    });
  });
}
