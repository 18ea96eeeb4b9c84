import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import { type HuntReport, isErrorOfOurs } from './hunt-report.ts';
import { MutantWorkshop, project } from './mutant-workshop.ts';
import { parseMutationPatch } from './mutation-patch.ts';

/** What one mutant may cost. Processor time, so that a busy machine finds what an idle one does. */
const cpuSecondsMax = 20;
const seedsMax = 5_000;
/** A mutant that hangs without using the processor. */
const patienceMs = 240_000;
/** Mutants hunted at the same time. */
const lanes = 2;

const folder = join(project, 'test', 'mutations');
const patches = readdirSync(folder)
  .filter((name) => name.endsWith('.patch'))
  .sort()
  .map((name) => parseMutationPatch(name.replace(/\.patch$/, ''), readFileSync(join(folder, name), 'utf8')));

function hunt(copy: string, seeds: number, cpuSeconds: number): Promise<HuntReport> {
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const program = join(copy, 'test', 'mutations', 'hunt.js');
  const child = spawn(
    process.execPath,
    [program, '--seeds', String(seeds), '--cpu-seconds', String(cpuSeconds)],
    { env, stdio: ['ignore', 'pipe', 'pipe'], timeout: patienceMs, killSignal: 'SIGKILL' },
  );
  let output = '';
  let errors = '';
  child.stdout.setEncoding('utf8').on('data', (piece: string) => {
    output += piece;
  });
  child.stderr.setEncoding('utf8').on('data', (piece: string) => {
    errors += piece;
  });
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (status, signal) => {
      const lastLine = output.trimEnd().split('\n').at(-1) ?? '';
      if (status === 0 && lastLine.startsWith('{')) resolve(JSON.parse(lastLine) as HuntReport);
      else
        reject(new Error(`the hunt ended with ${signal ?? status} and no report: ${errors.slice(0, 2000)}`));
    });
  });
}

function describeReport({ finding, seeds, cuts, cpuSeconds }: HuntReport): string {
  const spent = `${seeds} seed${seeds === 1 ? '' : 's'}, ${cuts} cuts, ${cpuSeconds.toFixed(1)} s`;
  return finding === undefined
    ? `NOT found after ${spent}`
    : `found after ${spent} by ${finding.detector}: ${finding.message}`;
}

const workshop = new MutantWorkshop(patches);
after(() => {
  workshop[Symbol.dispose]();
});
/** Of the mutant that was hardest to find. */
let seedsNeeded = 1;

describe('each deliberate bug is found by the simulator within 20 s', { concurrency: lanes }, () => {
  for (const patch of patches) {
    it(`mutation ${patch.name}: ${patch.about}`, async () => {
      const copy = workshop.build(patch);
      const report = await hunt(copy, seedsMax, cpuSecondsMax);
      workshop.discard(copy);
      console.log(`mutation ${patch.name}: ${describeReport(report)}`);
      const { finding } = report;
      assert.ok(finding !== undefined, `not found after ${report.seeds} seeds and ${report.cuts} cuts`);
      assert.ok(isErrorOfOurs(finding.name), `found by a crash, not by a detector: ${finding.stack}`);
      seedsNeeded = Math.max(seedsNeeded, report.seeds);
    });
  }
});

describe('without a bug', () => {
  it('the same copy passes all seeds that were needed', async () => {
    assert.ok(patches.length >= 12, `only ${patches.length} mutations`);
    const report = await hunt(workshop.build(undefined), seedsNeeded, Number.POSITIVE_INFINITY);
    assert.equal(report.finding, undefined, report.finding?.stack);
    assert.equal(report.seeds, seedsNeeded);
    console.log(`unmutated: nothing found in ${report.seeds} seeds, ${report.cuts} cuts`);
  });
});
