import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';

interface Ended {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

const command = fileURLToPath(new URL('../simulate.js', import.meta.url));

/** `npm run simulate -- …` without npm. */
function simulate(...words: readonly string[]): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = execFile(process.execPath, [command, ...words], (error, out, errorText) => {
      if (child.exitCode === null) reject(error ?? new Error('it was ended'));
      else resolve({ code: child.exitCode, out, error: errorText });
    });
  });
}

/** The line of the summary that every run of the same seeds has. */
function compared(text: string): string | undefined {
  return /[0-9]+ remaps, .*/.exec(text)?.[0];
}

describe('npm run simulate', () => {
  it('runs the same worlds in one thread and in two', async () => {
    const seeds = ['--seeds', '5', '--seed', '11', '--fork-every', '200'];
    const one = await simulate(...seeds);
    const two = await simulate(...seeds, '--jobs', '2');
    assert.deepEqual([one.code, two.code], [0, 0], one.error + two.error);
    assert.notEqual(compared(one.out), undefined);
    assert.equal(compared(one.out), compared(two.out));
  });

  it('takes more threads than seeds, and no seed at all', async () => {
    assert.equal((await simulate('--seeds', '1', '--jobs', '64', '--fork-every', '0')).code, 0);
    assert.equal((await simulate('--seeds', '0')).code, 0);
  });

  it('repeats the world of a line, and says what came of it', async () => {
    const line = '{"seed":7,"forkEvery":50,"oneClient":true,"sessions":1,"steps":[0,4,9]}';
    const { code, out } = await simulate('--replay', line);
    assert.equal(code, 0);
    assert.match(out, /keeps its promises/);
  });

  it('refuses with one line and 2 what it does not understand', async () => {
    const wrong = [
      ['--seeds', 'many'],
      ['--seed', '-1'],
      ['--jobs', '1.5'],
      ['--replay', '{"seed":'],
      ['--replay', '{"seed":7,"steps":[9999]}'],
      ['--no-such-word'],
      ['word'],
    ];
    for (const words of wrong) {
      const { code, error } = await simulate(...words);
      assert.equal(code, 2, `${words.join(' ')}: ${error}`);
      assert.match(error, /^simulate: .+\n$/);
    }
  });
});
