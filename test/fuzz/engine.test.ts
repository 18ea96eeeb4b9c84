import assert from 'node:assert/strict';
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { describe, it } from 'node:test';
import { parseBytes } from '../../src/cli/text/byte-size.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { BlockCoverage } from './engine/block-coverage.ts';
import { corpusFileBytesMax, corpusName, corpusRoot, readCorpus } from './engine/corpus-folder.ts';
import { Finding, FuzzRun } from './engine/fuzz-run.ts';
import type { FuzzTarget } from './engine/fuzz-target.ts';
import { minimise } from './engine/minimise.ts';
import { mutateBytes } from './engine/mutate-bytes.ts';
import { loadTarget, targetNames } from './targets/all-targets.ts';

const corpusBytesMax = 400 * 1024;

function targetThat(run: (input: Buffer) => Promise<void> | void, executionsPerLook = 16): FuzzTarget {
  return {
    name: 'made-up',
    what: 'something with a bug',
    inputBytesMax: 64,
    executionsPerLook,
    executionsInTests: 0,
    seeds: () => [Buffer.from('an input')],
    words: [],
    open: () => Promise.resolve({ run: (input) => Promise.resolve(run(input)) }),
  };
}

async function findingOf(target: FuzzTarget, executions: number, coverage?: BlockCoverage): Promise<Finding> {
  const run = new FuzzRun(target, {
    ...{ seed: '1', corpus: [], coverage, hangWatch: undefined },
    goesOn: ({ executions: done }) => done < executions,
  });
  const error = await run.run().then(
    () => undefined,
    (reason: unknown) => reason,
  );
  assert.ok(error instanceof Finding, `nothing was found in ${run.executions} executions`);
  return error;
}

/** Comparisons one behind the other: blind chance needs 2^24 inputs for what coverage finds byte by byte. */
function hasSixNibbles(input: Buffer): boolean {
  const nibble = (at: number): number => (input[at] ?? 0) & 15;
  if (nibble(0) !== 4) return false;
  if (nibble(1) !== 3) return false;
  if (nibble(2) !== 14) return false;
  if (nibble(3) !== 7) return false;
  if (nibble(4) !== 12) return false;
  return nibble(5) === 9;
}

describe('the fuzzer', () => {
  it('finds an error that is no typed one, and says for which input', async () => {
    const target = targetThat((input) => {
      if (input.length > 20) throw new TypeError('of undefined');
    });
    const finding = await findingOf(target, 10_000);
    assert.match(finding.message, /TypeError/);
    assert.ok(finding.input.length > 20);
  });

  it('finds what needs several right bytes by the code that each of them reaches, and not without', async () => {
    const coverage = new BlockCoverage('/dist/test/fuzz/engine.test');
    const target = targetThat((input) => assert.ok(!hasSixNibbles(input)), 64);
    const finding = await findingOf(target, 60_000, coverage);
    coverage.end();
    assert.ok(hasSixNibbles(finding.input));
    await assert.rejects(findingOf(target, 60_000), /nothing was found/);
  });

  it('finds executions that take too long', async () => {
    const target = targetThat(() => {
      const start = process.cpuUsage();
      for (;;) {
        const { user, system } = process.cpuUsage(start);
        if (user + system > 70_000) return;
      }
    });
    const run = new FuzzRun(target, {
      ...{ seed: '1', corpus: [], coverage: undefined, hangWatch: undefined, executionMsMax: 50 },
      goesOn: () => false,
    });
    await assert.rejects(run.run(), /takes \d+ ms of processor/);
  });

  it('finds that memory grows with what an input says', async () => {
    const held: Buffer[] = [];
    const target = targetThat(() => void held.push(Buffer.alloc(64 << 20, 1)), 1);
    const run = new FuzzRun(target, {
      ...{ seed: '1', corpus: [], coverage: undefined, hangWatch: undefined },
      goesOn: ({ executions }) => executions < 40,
    });
    await assert.rejects(run.run(), /the process grew/);
  });

  it('does the same for the same seed', async () => {
    const kept = async (): Promise<readonly string[]> => {
      const seen: string[] = [];
      const target = targetThat((input) => void seen.push(input.toString('hex')));
      const run = new FuzzRun(target, {
        ...{ seed: '7', corpus: [], coverage: undefined, hangWatch: undefined },
        goesOn: ({ executions }) => executions < 500,
      });
      await run.run();
      return seen;
    };
    assert.deepEqual(await kept(), await kept());
  });

  it('makes a failing input as small as it can', async () => {
    const input = Buffer.from('much before NEEDLE and much behind it');
    const small = await minimise(input, (candidate) => Promise.resolve(candidate.includes('NEEDLE')));
    assert.equal(small.toString(), 'NEEDLE');
  });

  it('keeps mutations within their length', () => {
    const random = new SeededRandom('lengths');
    const sources = { other: Buffer.alloc(40, 1), words: [Buffer.from('word')], bytesMax: 50 };
    for (let at = 0; at < 2_000; at += 1) {
      assert.ok(mutateBytes(random, Buffer.alloc(at % 50), sources).length <= 50);
    }
  });

  it('sees which part of a function is new', () => {
    const coverage = new BlockCoverage('/dist/src/cli/text/byte-size');
    parseBytes('nothing');
    assert.ok(coverage.look(true), 'a function');
    parseBytes('other');
    assert.ok(!coverage.look(true), 'the same again');
    parseBytes('12K');
    assert.ok(coverage.look(true), 'what was never executed');
    coverage.end();
  });
});

describe('the corpus', () => {
  it('has inputs for every target, small ones, each once', async () => {
    let totalBytes = 0;
    assert.deepEqual(readdirSync(corpusRoot).sort(), [...targetNames].sort());
    for (const name of targetNames) {
      const inputs = readCorpus(name);
      assert.ok(inputs.length > 0, name);
      const target = await loadTarget(name);
      assert.equal(target.name, name);
      const names = inputs.map(corpusName);
      assert.deepEqual(
        names,
        readdirSync(join(corpusRoot, name)).sort(),
        `${name}: names say what is in the files`,
      );
      for (const file of readdirSync(join(corpusRoot, name))) {
        const { size } = statSync(join(corpusRoot, name, file));
        assert.ok(size <= corpusFileBytesMax, `${name}/${file} has ${size} bytes`);
        totalBytes += size;
      }
    }
    assert.ok(totalBytes <= corpusBytesMax, `${totalBytes} bytes in all`);
  });
});
