import assert from 'node:assert/strict';
import { before, describe, it } from 'node:test';
import { type BootResult, MachineLab, missingForGuest } from './machine.ts';
import type { StoryCall } from './story-plan.ts';

const consoleLettersMax = 4000;

/** One boot of a real kernel, and a test for each of its stories. What the guest does not say is a failure, not silence. */
export function kernelTests(boot: string, stories: readonly StoryCall[], memoryMebibytes?: number): void {
  describe(`${boot}, in a kernel of its own`, { skip: missingForGuest() }, () => {
    let result: BootResult;
    before(async () => {
      const lab = new MachineLab();
      try {
        result = await lab.boot({ stories, ...(memoryMebibytes === undefined ? {} : { memoryMebibytes }) });
      } finally {
        lab.close();
      }
    });
    for (const { title } of stories) it(title, (context) => context.diagnostic(seenIn(result, title)));
    it('turns itself off', () => assert.equal(result.end, 'powered off'));
  });
}

/** What a story saw; fails with what it says, or with the end of the console when it says nothing. */
export function seenIn({ reports, console, end }: BootResult, title: string): string {
  for (const report of reports) {
    if (report.kind !== 'ended' || report.title !== title) continue;
    if (report.failure !== '') assert.fail(report.failure);
    return `${report.seen} (${report.seconds.toFixed(0)} s)`;
  }
  const text = console.slice(-consoleLettersMax);
  return assert.fail(`the guest says nothing of it; its end: ${end}; the end of its console:\n${text}`);
}
