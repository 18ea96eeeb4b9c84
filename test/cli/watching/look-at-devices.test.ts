import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { lookAtDevices } from '../../../src/cli/watching/look-at-devices.ts';
import { createExporter } from '../../../src/cli/watching/metrics-exporter.ts';
import { metricsText } from '../../../src/control/metrics/metrics-text.ts';
import { formatIdentity, identityOfProcess } from '../../../src/device/process/process-identity.ts';
import { exampleStatus } from '../../control/example-status.ts';
import { parseExposition } from '../../control/exposition-reader.ts';

let directory: string;
const servers: Server[] = [];

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dm-remap-look-'));
  process.env['DM_REMAP_RUNTIME_DIR'] = directory;
});

afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
  rmSync(directory, { recursive: true, force: true });
});

/** A device whose process is this one; without `answers` it takes requests and says nothing. */
async function device(name: string, answers: boolean): Promise<void> {
  mkdirSync(join(directory, name));
  writeFileSync(join(directory, name, 'pid'), formatIdentity(identityOfProcess(process.pid)!));
  const server = createServer((_, outgoing) => {
    if (answers) outgoing.end(JSON.stringify({ ...exampleStatus, name }));
  });
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(join(directory, name, 'control.sock'), resolve));
}

test('a device that hangs costs its own figures and nobody else’s, and one that is named and absent is told of', async () => {
  await device('hung', false);
  await device('well', true);
  const { answers, silent } = await lookAtDevices(['hung', 'none', 'well'], 100);
  assert.deepEqual(
    answers.map(({ name }) => name),
    ['well'],
  );
  assert.deepEqual(
    silent.map(({ name }) => name),
    ['hung', 'none'],
  );
  assert.match(silent[0]!.why, /^hung: no answer within 0\.1 s/);
  const { value } = parseExposition(metricsText(answers, silent));
  const up = ['hung', 'none', 'well'].map((name) => value('dm_remap_up', { device: name }));
  assert.deepEqual(up, [0, 0, 1]);
});

test('scrapes that come at one time are one look; the next one looks anew, also after a failure', async () => {
  let looks = 0;
  let release = (): void => undefined;
  const exporter = createExporter(async () => {
    looks += 1;
    await new Promise<void>((resolve) => {
      release = resolve;
    });
    if (looks === 2) throw new Error('the folder is gone');
    return `look ${looks}\n`;
  });
  servers.push(exporter);
  await new Promise<void>((resolve) => exporter.listen(0, '127.0.0.1', resolve));
  const address = exporter.address();
  assert.ok(typeof address === 'object' && address !== null);
  let arrived = 0;
  exporter.on('request', () => {
    arrived += 1;
  });
  const scrape = async (): Promise<string> => {
    const answer = await fetch(`http://127.0.0.1:${address.port}/metrics?x=1`);
    return `${answer.status} ${await answer.text()}`;
  };
  const released = async (count: number): Promise<void> => {
    while (arrived < count) await new Promise((resolve) => setTimeout(resolve, 5));
    release();
  };
  const three = [scrape(), scrape(), scrape()];
  await released(3);
  assert.deepEqual(await Promise.all(three), Array(3).fill('200 look 1\n'));
  const failing = scrape();
  await released(4);
  assert.equal(await failing, '503 the folder is gone\n');
  const again = scrape();
  await released(5);
  assert.equal(await again, '200 look 3\n');
});
