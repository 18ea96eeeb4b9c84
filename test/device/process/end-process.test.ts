import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { after, before, describe, it } from 'node:test';

const moduleUrl = (name: string): string =>
  JSON.stringify(new URL(`../../../src/device/process/${name}.js`, import.meta.url).href);

describe('a process whose disk hangs in a thread of libuv', () => {
  let directory: string;

  before(() => {
    directory = mkdtempSync(join(tmpdir(), 'dm-remap-test-'));
    execFileSync('mkfifo', [join(directory, 'hung')]);
  });

  after(() => rmSync(directory, { recursive: true }));

  /** Runs `script` in a process that waits for a read that nobody answers. */
  function runHung(script: string): { status: number | null; output: string; errors: string } {
    const code = `
      import { openSync, read } from 'node:fs';
      import { endProcess } from ${moduleUrl('end-process')};
      import { installFailStop } from ${moduleUrl('fail-stop')};
      read(openSync(process.argv[1], 'r+'), Buffer.alloc(1), 0, 1, null, () => {});
      setTimeout(() => {
        console.log('said');
        ${script}
      }, 50);`;
    const words = ['--input-type=module', '-e', code, join(directory, 'hung')];
    const { status, stdout, stderr } = spawnSync(process.execPath, words, {
      encoding: 'utf8',
      timeout: 5000,
      killSignal: 'SIGKILL',
    });
    return { status, output: stdout, errors: stderr };
  }

  it('R35 ends at once, with its exit code and all it said', () => {
    const { status, output } = runHung('endProcess(3);');
    assert.equal(status, 3);
    assert.equal(output, 'said\n');
  });

  it('R35 ends at once by a bug too', () => {
    const { status, errors } = runHung("installFailStop('disk'); throw new Error('a bug');");
    assert.equal(status, 70);
    assert.match(errors, /^dm-remap: disk: internal error, stopping: Error: a bug/);
  });

  it('would not end as Node ends processes', () => {
    assert.equal(runHung('process.exit(3);').status, null);
  });
});
