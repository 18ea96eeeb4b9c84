import assert from 'node:assert/strict';
import { readdirSync, readFileSync, symlinkSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { after, describe, it } from 'node:test';
import { pathToFileURL } from 'node:url';
import { MutantWorkshop, project } from '../mutations/mutant-workshop.ts';
import { type MutationPatch, parseMutationPatch } from '../mutations/mutation-patch.ts';
import { readCorpus } from './engine/corpus-folder.ts';
import { Finding, FuzzRun } from './engine/fuzz-run.ts';
import type { FuzzTarget } from './engine/fuzz-target.ts';
import { targetNames } from './targets/all-targets.ts';

const folder = join(project, 'test', 'fuzz', 'bugs');
/** New mutations, where the corpus does not find it at once. */
const executionsMax = 3_000;

const bugs = readdirSync(folder)
  .sort()
  .map((file) => parseMutationPatch(file.replace(/\.patch$/, ''), readFileSync(join(folder, file), 'utf8')));
/** Bugs in different files: one copy of the project has all of them but one that would hide others. */
const alone = 'journal';
const patches: readonly MutationPatch[] = [
  bugs.find(({ name }) => name === alone)!,
  {
    name: 'the-others',
    about: 'a bug for each other target',
    files: bugs.filter(({ name }) => name !== alone).flatMap(({ files }) => files),
  },
];

const workshop = new MutantWorkshop(patches);
after(() => {
  workshop[Symbol.dispose]();
});

/** A target of the copy, over the copy's code. */
async function loadFrom(copy: string, name: string): Promise<FuzzTarget> {
  const path = join(copy, 'test', 'fuzz', 'targets', 'all-targets.js');
  const { loadTarget } = (await import(pathToFileURL(path).href)) as {
    loadTarget: (name: string) => Promise<FuzzTarget>;
  };
  return await loadTarget(name);
}

/** What each judge says of its bug. */
const verdicts: Readonly<Record<string, RegExp>> = {
  'bad-sector-lists': /ranges that touch/,
  checkpoint: /two granules have one slot/,
  'command-words': /: 0 bytes/,
  'control-bodies': /sector -/,
  'event-log': /told again/,
  journal: /acknowledged records are missing/,
  'metadata-dump': /restored other records/,
  'nbd-client': /beside its buffer/,
  'nbd-handshake': /option 3 was not answered/,
  'nbd-transmission': /was answered 0/,
  'remap-messages': /sector 30 cannot be read/,
  superblock: /a write at 0, in front of the metadata/,
  'table-copy': /a granule outside main/,
  'table-lines': /table line 1: 3 arguments/,
};

describe('each judge finds the bug that was put in for it', () => {
  const copies = patches.map((patch) => workshop.build(patch));
  // A copy looks for golden images where the project has them, two folders above its own.
  symlinkSync(join(project, 'test'), join(dirname(copies[0]!), 'test'));

  it('there is one for each target', () => {
    assert.deepEqual(bugs.map(({ name }) => name).sort(), [...targetNames].sort());
  });

  for (const { name, about } of bugs) {
    it(`${name}: ${about}`, async () => {
      const target = await loadFrom(copies[name === alone ? 0 : 1]!, name);
      const corpus = readCorpus(name);
      const run = new FuzzRun(target, {
        ...{ seed: 'judges', corpus, coverage: undefined, hangWatch: undefined },
        goesOn: ({ executions }) => executions < corpus.length + executionsMax,
      });
      const error: unknown = await run.run().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      console.log(name, run.executions, error instanceof Finding ? error.message : error);
      assert.ok(error instanceof Finding, `not found in ${run.executions} executions`);
      assert.match(error.message, verdicts[name] ?? /^$/);
    });
  }
});
