import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { leastSquaresSlope } from './memory-soak.ts';

const program = fileURLToPath(new URL('../accept.js', import.meta.url));

function accept(...words: readonly string[]): { status: number | null; stdout: string; stderr: string } {
  return spawnSync(process.execPath, [program, ...words], { encoding: 'utf8' });
}

describe('npm run accept', () => {
  it('tells the names of what there is', () => {
    const { status, stdout } = accept('--help');
    assert.equal(status, 0);
    assert.match(stdout, /ext4-A ext4-B xfs-A xfs-B btrfs-A btrfs-B kills memory$/m);
  });

  it('refuses what it does not know with one line', () => {
    for (const words of [['--only', 'nothing'], ['--stages', '3'], ['word']]) {
      const { status, stdout, stderr } = accept(...words);
      assert.deepEqual([status, stdout], [2, ''], words.join(' '));
      assert.match(stderr, /^accept: [^\n]+\n$/);
    }
  });

  it('finds the slope of memory through the noise of collections', () => {
    const line = Array.from({ length: 480 }, (_, seconds) => ({ seconds, bytes: 5e7 + 3 * seconds }));
    assert.ok(Math.abs(leastSquaresSlope(line) - 3) < 1e-9);
    const sawtooth = line.map(({ seconds, bytes }) => ({ seconds, bytes: bytes + (seconds % 10) * 100 }));
    assert.ok(Math.abs(leastSquaresSlope(sawtooth) - 3) < 0.1);
  });
});
