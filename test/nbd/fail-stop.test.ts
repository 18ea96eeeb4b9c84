import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';

const here = (path: string): string => JSON.stringify(new URL(path, import.meta.url).href);

/** A process that serves a device which throws what no device may throw, and the client that makes it do so. */
const program = `
  const { FilterDevice } = await import(${here('../../src/block/filter-device.js')});
  const { AssertionFailure } = await import(${here('../../src/block/assert.js')});
  const { MemoryDevice } = await import(${here('../../src/block/memory-device.js')});
  const { ServerFixture } = await import(${here('./server-fixture.js')});
  class BrokenDevice extends FilterDevice {
    read() {
      return Promise.reject(new AssertionFailure('the table of moves is out of order'));
    }
  }
  const device = new BrokenDevice(new MemoryDevice({ name: 'disk', sizeBytes: 65536 }));
  const client = await new ServerFixture({ device }).client();
  const keepAlive = setInterval(() => undefined, 1000);
  await client.read(new Uint8Array(512), 0).catch((error) => console.log('answered', error.message));
  console.log('survived');
  clearInterval(keepAlive);
`;

test('R35 a bug of ours below the export ends the process, it is no I/O error', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '--eval', program], { timeout: 20_000 });
  let output = '';
  for (const stream of [child.stdout, child.stderr]) {
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const status = await new Promise((resolve) => {
    child.on('close', resolve);
  });
  assert.equal(status, 1, output);
  assert.match(output, /the table of moves is out of order/);
  assert.doesNotMatch(output, /survived|answered/);
});
