import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { connectNbd, NbdRequestError } from '../../src/nbd/client.ts';
import type { NbdExport } from '../../src/nbd/export-list.ts';
import { settle } from './manual-clock.ts';
import { withServer } from './server-fixture.ts';
import { field, optionHex, optionReplyHex, textHex } from './wire-client.ts';

const mebibyte = 1024 * 1024;

function other(options: Partial<NbdExport> = {}): NbdExport {
  const device: BlockDevice = new MemoryDevice({ name: 'elsewhere', sizeBytes: 2 * mebibyte });
  return { name: 'disk/main', description: 'main, read-only', device, readOnly: true, ...options };
}

function serverHex(name: string, description: string): string {
  return optionReplyHex(3, 2, `${field(name.length, 4)}${textHex(name)}${textHex(description)}`);
}

test('LIST tells all exports with their descriptions, the default one first', async () => {
  await withServer({ description: 'an old disk', moreExports: [other()] }, async (fixture) => {
    const wire = fixture.wire();
    await wire.receive(18);
    await wire.send(`00000003${optionHex(3)}`);
    await wire.expect(
      serverHex('disk', 'an old disk') + serverHex('disk/main', 'main, read-only') + optionReplyHex(3, 1),
    );
    await wire.stream.close();
  });
});

test('each name reaches its own device, "" the first one', async () => {
  await withServer({ moreExports: [other({ readOnly: false })] }, async (fixture) => {
    const [first, second, unnamed] = [
      await fixture.client('disk'),
      await fixture.client('disk/main'),
      await fixture.client(''),
    ];
    assert.equal(first.exported.sizeBytes, mebibyte);
    assert.equal(second.exported.sizeBytes, 2 * mebibyte);
    assert.equal(unnamed.exported.sizeBytes, mebibyte);
    await first.write(new Uint8Array(512).fill(1), 4096);
    await second.write(new Uint8Array(512).fill(2), 4096);
    for (const [client, byte] of [
      [first, 1],
      [second, 2],
      [unnamed, 1],
    ] as const) {
      const target = new Uint8Array(512);
      await client.read(target, 4096);
      assert.deepEqual(target, new Uint8Array(512).fill(byte));
      await client.disconnect();
    }
  });
});

test('a name that is not served is answered with those that are, and the handshake goes on', async () => {
  await withServer({ moreExports: [other()] }, async (fixture) => {
    await assert.rejects(connectNbd(fixture.connect().client, 'disk/'), /"disk" and "disk\/main"/);
    const client = await fixture.client('disk/main');
    await client.disconnect();
    await settle();
  });
});

test('a read-only export says so, and answers writes EPERM without asking its device', async () => {
  const device = new MemoryDevice({ name: 'writable', sizeBytes: mebibyte });
  await withServer({ moreExports: [other({ device })] }, async (fixture) => {
    const client = await fixture.client('disk/main');
    assert.equal(client.exported.readOnly, true);
    await assert.rejects(client.write(new Uint8Array(512).fill(7), 0), (error) => {
      return error instanceof NbdRequestError && error.errno === 1;
    });
    const target = new Uint8Array(512).fill(9);
    await client.read(target, 0);
    assert.deepEqual(target, new Uint8Array(512));
    await client.disconnect();
  });
});
