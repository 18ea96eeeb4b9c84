import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import test from 'node:test';
import { fileURLToPath } from 'node:url';

const program = fileURLToPath(new URL('../../bench/main.js', import.meta.url));

function bench(words: readonly string[], path: string): { status: number | null; stderr: string } {
  const { status, stderr } = spawnSync(process.execPath, [program, ...words], {
    env: { ...process.env, PATH: path },
    encoding: 'utf8',
  });
  return { status, stderr };
}

test('the benchmark refuses in one line when its programs are not installed', (context) => {
  const empty = mkdtempSync(join(tmpdir(), 'dm-remap-test-'));
  context.after(() => rmSync(empty, { recursive: true }));
  const { status, stderr } = bench(['--directory', empty], empty);
  if (!stderr.includes('not installed')) return context.skip('fio and qemu-nbd are in sbin here');
  assert.equal(status, 1);
  assert.match(
    stderr,
    /^bench: not installed: fio, qemu-img; run as root: apt-get install fio qemu-utils\n$/,
  );
  assert.deepEqual(readdirSync(empty), []);
});

test('the benchmark refuses options that mean nothing', () => {
  const { status, stderr } = bench(['--rounds', 'many'], process.env['PATH'] ?? '');
  assert.equal(status, 1);
  assert.match(stderr, /--rounds many: expected a whole number/);
});
