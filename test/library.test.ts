import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import {
  connectNbd,
  createDataPlane,
  createDevice,
  createImage,
  examineSpare,
  FilterDevice,
  MetadataStore,
  NbdServer,
  openRemapDevice,
} from '../src/index.ts';

const mib = 1_048_576;

test('the library makes, opens and serves a device as its first page says', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dm-remap-library-'));
  try {
    const [mainPath, sparePath] = [join(folder, 'main.img'), join(folder, 'spare.img')];
    await createImage(mainPath, 64 * mib);
    await createImage(sparePath, 32 * mib);
    await createDevice({
      name: 'disk',
      main: { kind: 'path', path: mainPath },
      sparePath,
      cache: 'none',
      overwriteSpare: false,
    });
    assert.equal((await examineSpare(sparePath)).name, 'disk');

    const plane = createDataPlane();
    const { arena, clock, random } = plane;
    const main = await plane.openFile({ path: mainPath, cache: 'none' });
    const spare = await plane.openFile({ path: sparePath, cache: 'none' });
    const metadata = await MetadataStore.open({ spare, arena, clock, random });
    const device = await openRemapDevice({ main, spare, metadata, arena, clock });
    // Filters of one's own go between any two.
    const server = new NbdServer({
      exports: [{ name: 'disk', device: new FilterDevice(device) }],
      arena,
      clock,
    });
    const socketPath = join(folder, 'nbd.sock');
    server.listen(plane.listenUnix(socketPath));
    const client = await connectNbd(await plane.connectUnix(socketPath), 'disk');
    const bytes = new Uint8Array(4096).fill(9);
    await client.write(bytes, 8192, { fua: true });
    const target = new Uint8Array(4096);
    await client.read(target, 8192);
    assert.deepEqual(target, bytes);

    await client.disconnect();
    assert.equal(await server.close(5_000), 0);
    await device.close();
    await main.close();
    await spare.close();
    assert.equal(arena.usedBytes, 0, 'the arena is empty');
    await plane.close();
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
});
