import assert from 'node:assert/strict';
import { type ChildProcess, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { assertNothingLeftOver } from './nothing-left-over.ts';

const program = fileURLToPath(new URL('../../demo/main.js', import.meta.url));
const secondsMax = 60;

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(realpathSync(tmpdir()), 'dm-remap-lab-'));
});

afterEach(() => {
  try {
    assertNothingLeftOver(folder);
    assert.deepEqual(readdirSync(folder), [], 'the demonstration removes its folder');
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});

interface Show {
  readonly status: number | null;
  readonly output: string;
  readonly seconds: number;
}

/** Runs the demonstration with a folder of ours for its temporary files; `watch` sees the output grow. */
function runDemo(
  words: readonly string[],
  environment: NodeJS.ProcessEnv = {},
  watch: (child: ChildProcess, output: string) => void = () => undefined,
): Promise<Show> {
  const startMs = performance.now();
  const child = spawn(process.execPath, ['--enable-source-maps', program, ...words], {
    env: { ...process.env, TMPDIR: folder, ...environment },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.setEncoding('utf8').on('data', (text: string) => {
      output += text;
      watch(child, output);
    });
  }
  return new Promise((resolve) => {
    child.on('close', (status) => {
      resolve({ status, output, seconds: (performance.now() - startMs) / 1000 });
    });
  });
}

test('the demonstration keeps a dying disk in service through kill -9, in less than a minute', async () => {
  const { status, output, seconds } = await runDemo([]);
  assert.equal(status, 0, output);
  for (const line of [
    /\$ dm-remap create dying --main-table main\.table --spare spare\.img/,
    /7 sectors that the disk cannot read: each EIO/,
    /^ +263144 2 unreadable$/m,
    /256 MiB written without an error/,
    /^ +1000 8 \d+ writeError$/m,
    /^ +0 524288 remap table:\S+ \S+ ok 5\/\d+ lost 0 replicas 2\/2$/m,
    /\|#\.{23}#/,
    /\|!\.{23}!/,
    /\$ kill -9 \d+/,
    /^ +dying +dead /m,
    /\$ dm-remap assemble --main-table main\.table --spare spare\.img/,
    /ok all 268435456 bytes are what was written/,
    /remapped +5 granules/,
    /lost +0 sectors unreadable, 0 gone/,
    /\$ dm-remap remove dying/,
  ]) {
    assert.match(output, line);
  }
  assert.match(output, /^[\x20-\x7e\n]*$/, 'plain ASCII where nobody looks at a terminal');
  assert.ok(seconds < secondsMax, `took ${seconds} s`);
});

test('without programs of others, our own client notices one wrong byte, loudly', async () => {
  const { status, output } = await runDemo(['--sabotage'], { PATH: folder, NO_COLOR: '1' });
  assert.equal(status, 1, output);
  assert.match(output, /neither nbdcopy nor qemu-img is installed/);
  assert.match(output, /^\*{20,}\n\*\*\* {2}WRONG BYTES: 1 of 268435456 differ/m);
  assert.match(output, /the first at offset 209715213 \(sector 409600\)/);
  assert.doesNotMatch(output, /ok all/);
});

test('Ctrl-C in the middle ends the demonstration and leaves nothing', async () => {
  let interrupted = false;
  const { status, output } = await runDemo([], {}, (child, text) => {
    if (interrupted || !text.includes('$ dm-remap message dying 0 main')) return;
    interrupted = true;
    child.kill('SIGINT');
  });
  assert.equal(status, 130, output);
  assert.doesNotMatch(output, /ok all/);
});
