import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { operations } from '../../src/control/operations.ts';
import { DeviceLab } from './device-lab.ts';
import { missingTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(async () => {
  lab = new DeviceLab();
  lab.image('main.img', 64 * mib);
  lab.image('spare.img', 32 * mib);
});

afterEach(() => endLab(lab));

interface Example {
  readonly commands: readonly string[];
  /** What the last of them prints, where the page says. */
  readonly answer: string | undefined;
}

function examplesOf(page: string): readonly Example[] {
  return [...page.matchAll(/^```sh\n(.*?)^```\n(?:```json\n(.*?)^```\n)?/gms)].map(
    ([, commands, answer]) => ({
      commands: (commands ?? '').trimEnd().split('\n'),
      answer: answer?.trimEnd(),
    }),
  );
}

function shell(command: string): Promise<string> {
  return new Promise((resolve, reject) => {
    execFile('sh', ['-c', command], (error, output) => (error === null ? resolve(output) : reject(error)));
  });
}

test('the commands of docs/control-api.md are answered as the page says, and each as its schema says', {
  skip: missingTool('curl'),
}, async () => {
  await lab.mustRun('create', 'old-disk', '--main', 'main.img', '--spare', 'spare.img');
  const { pid } = lab.identity('old-disk');
  const path = fileURLToPath(new URL('../../../docs/control-api.md', import.meta.url));
  const asked = new Set<string>();
  for (const { commands, answer } of examplesOf(readFileSync(path, 'utf8'))) {
    let output = '';
    for (const command of commands) {
      output = await shell(command.replaceAll('/run/dm-remap', lab.runtime));
      const resource = /localhost(\/[\w.-]+)/.exec(command)?.[1] ?? '';
      asked.add(resource);
      const schema = operations.find((one) => one.path === resource)?.answer?.schema;
      if (schema !== undefined && !output.startsWith('{"error"'))
        assert.ok(schema.safeParse(JSON.parse(output)).success, output);
    }
    if (answer !== undefined) assert.equal(output.replace(`"pid":${pid}`, '"pid":4242'), answer);
  }
  assert.deepEqual(asked, new Set(operations.map((one) => one.path)));
});

test('only the owner may open the socket, and the folder that it is in', async () => {
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
  const folder = join(lab.runtime, 'disk');
  assert.equal(statSync(join(folder, 'control.sock')).mode & 0o777, 0o600);
  assert.equal(statSync(folder).mode & 0o777, 0o700);
});

test('I14 a flood of the control API is answered or refused, and harms no I/O', async () => {
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
  const client = await lab.connect('disk');
  const socketPath = join(lab.runtime, 'disk', 'control.sock');
  const statuses = new Map<number | string, number>();
  let stop = false;
  const flood = Array.from({ length: 64 }, async () => {
    while (!stop) {
      const status = await statusOf(socketPath);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
    }
  });
  const bytes = new Uint8Array(4096).fill(7);
  const target = new Uint8Array(4096);
  let longestMs = 0;
  for (let round = 0; round < 300; round += 1) {
    const startMs = performance.now();
    await client.write(bytes, round * 4096);
    await client.read(target, round * 4096);
    longestMs = Math.max(longestMs, performance.now() - startMs);
    assert.deepEqual(target, bytes);
  }
  stop = true;
  await Promise.all(flood);
  assert.ok((statuses.get(200) ?? 0) > 0, 'some were answered');
  for (const status of statuses.keys()) assert.ok([200, 503, 'closed'].includes(status), `${status}`);
  // Far above what they take; a request that waits for the API would take seconds.
  assert.ok(longestMs < 2_000, `${longestMs} ms`);
});

function statusOf(socketPath: string): Promise<number | 'closed'> {
  return new Promise((resolve) => {
    const outgoing = request({ socketPath, path: '/status', agent: false }, (incoming) => {
      incoming.resume();
      incoming.on('error', () => resolve('closed'));
      incoming.on('end', () => resolve(incoming.statusCode ?? 0));
    });
    outgoing.on('error', () => resolve('closed'));
    outgoing.end();
  });
}
