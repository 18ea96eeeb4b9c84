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
/** Bugs in different files: a copy of the project has several of them, none of which hides another. */
const apart: readonly (readonly string[])[] = [['journal', 'nbd-clients.flush'], ['nbd-clients.deadline']];
const groups: readonly (readonly MutationPatch[])[] = [
  ...apart.map((names) => bugs.filter(({ name }) => names.includes(name))),
  bugs.filter(({ name }) => !apart.flat().includes(name)),
];
const patches: readonly MutationPatch[] = groups.map((group, index) => ({
  name: `copy-${index}`,
  about: group.map(({ about }) => about).join(' '),
  files: group.flatMap(({ files }) => files),
}));
/** A second bug for one target has a word behind a point. */
const targetOf = (bug: string): string => bug.replace(/\..*/, '');

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
  'nbd-clients': /a (read|power cut) finds/,
  'nbd-clients.deadline': /does not finish a request is not dropped/,
  'nbd-clients.flush': /its client was not told of a failed flush/,
  'nbd-handshake': /option 3 was not answered/,
  'nbd-transmission': /was answered 0/,
  'remap-messages': /sectors 18 to 31 cannot be read/,
  'host-state': /a number that is none/,
  'runtime-folder': /a socket of somebody is gone/,
  'disk-signatures': /cannot be read is not told/,
  'disk-descriptions': /another when kept/,
  superblock: /a write at 0, in front of the metadata/,
  'table-copy': /a granule outside main/,
  'table-lines': /table line 1: 3 arguments/,
};

describe('each judge finds the bug that was put in for it', () => {
  const copies = patches.map((patch) => workshop.build(patch));
  // A copy looks for golden images where the project has them, two folders above its own.
  symlinkSync(join(project, 'test'), join(dirname(copies[0]!), 'test'));

  it('there is one for each target', () => {
    const targets = new Set(bugs.map(({ name }) => targetOf(name)));
    assert.deepEqual([...targets].sort(), [...targetNames].sort());
  });

  for (const { name, about } of bugs) {
    it(`${name}: ${about}`, async () => {
      const copy = copies[groups.findIndex((group) => group.some((bug) => bug.name === name))]!;
      const target = await loadFrom(copy, targetOf(name));
      const corpus = readCorpus(targetOf(name));
      const run = new FuzzRun(target, {
        ...{ seed: 'judges', corpus, coverage: undefined, hangWatch: undefined },
        goesOn: ({ executions }) => executions < corpus.length + executionsMax,
      });
      const error: unknown = await run.run().then(
        () => undefined,
        (reason: unknown) => reason,
      );
      assert.ok(error instanceof Finding, `not found in ${run.executions} executions`);
      assert.match(error.message, verdicts[name] ?? /^$/);
    });
  }
});
