import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import process from 'node:process';
import { test } from 'node:test';
import { Errno } from '../../src/block/errno.ts';
import { replaceProcess } from '../../src/linux/replace-process.ts';

const moduleUrl = new URL('../../src/linux/replace-process.js', import.meta.url).href;

test('a process becomes another program: same id, same standard output, the words and variables it is given', () => {
  const second =
    'console.log(JSON.stringify([process.pid, process.argv.slice(1), process.env.TOLD, process.env.HOME ?? null]))';
  const script = `
    import { replaceProcess } from ${JSON.stringify(moduleUrl)};
    console.log(process.pid);
    replaceProcess(process.execPath, ['node', '-e', ${JSON.stringify(second)}, 'two words'], {
      TOLD: 'a=b', HOME: undefined,
    });
    console.log('not reached');`;
  const child = spawnSync(process.execPath, ['--input-type=module', '-e', script], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  const [pid, ...rest] = child.stdout.trim().split('\n');
  assert.equal(child.status, 0, child.stderr);
  assert.deepEqual(JSON.parse(rest.join('\n')), [Number(pid), ['two words'], 'a=b', null]);
});

test('what cannot be run leaves the process as it is, and says why', () => {
  assert.equal(replaceProcess('/no/such/program', ['program'], {}), Errno.ENOENT);
});
