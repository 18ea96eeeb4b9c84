import assert from 'node:assert/strict';
import { tmpdir } from 'node:os';
import { after, before, describe, it } from 'node:test';
import { isTargetName, loadTarget, type TargetName } from '../targets/all-targets.ts';
import { readCorpus } from './corpus-folder.ts';
import { Finding, FuzzRun } from './fuzz-run.ts';
import { HangWatch } from './hang-watch.ts';

/** Another seed is another run; this one is written down, so that a change is judged by what it changes. */
const seed = '20261120';

/** Every input of the corpus, then new ones: blindly, for a look at the coverage costs more than hundreds of executions. */
export function describeFuzzing(names: readonly TargetName[]): void {
  let hangWatch: HangWatch | undefined;
  before(() => {
    hangWatch = new HangWatch(tmpdir());
  });
  after(() => hangWatch?.stop());
  for (const name of names) {
    describe(`fuzzing ${name}`, () => {
      it('finds nothing wrong in its corpus and in new mutations of it', async () => {
        assert.ok(isTargetName(name));
        const target = await loadTarget(name);
        const corpus = readCorpus(name);
        assert.ok(corpus.length > 0, 'there is a corpus');
        const executionsMax = corpus.length + target.executionsInTests;
        const run = new FuzzRun(target, {
          ...{ seed, corpus, coverage: undefined, hangWatch },
          goesOn: ({ executions }) => executions < executionsMax,
        });
        await run.run().catch((error: unknown) => {
          throw error instanceof Finding ? withReplay(name, error) : error;
        });
        assert.ok(run.executions >= executionsMax, `${run.executions} executions`);
      });
    });
  }
}

/** The input stands in the message: what a machine of CI writes to a file is gone with it. */
function withReplay(name: TargetName, finding: Finding): Error {
  const file = `fuzz-${name}.bin`;
  const again =
    `base64 -d > ${file} <<< ${finding.input.toString('base64')}; ` +
    `npm run fuzz -- --target ${name} --replay ${file}`;
  return new Error(`${finding.message}; again: ${again}`, { cause: finding.cause });
}
