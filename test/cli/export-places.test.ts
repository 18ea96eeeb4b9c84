import assert from 'node:assert/strict';
import { linkSync, lstatSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { type AddressInfo, createServer, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { refuseTakenExport } from '../../src/cli/export-places.ts';
import { SetupError } from '../../src/device/setup-error.ts';

let folder: string;
let server: Server;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-export-'));
  server = createServer();
});

afterEach(async () => {
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true, force: true });
});

const refusal =
  (reason: string, message: RegExp) =>
  (error: unknown): boolean => {
    assert.ok(error instanceof SetupError);
    assert.equal(error.reason, reason);
    assert.match(error.message, message);
    return true;
  };

test('free places, and a socket that nobody listens on any more, are left to the device', async () => {
  const path = join(folder, 'x.sock');
  const stale = join(folder, 'stale.sock');
  await refuseTakenExport(path, undefined);
  await new Promise<void>((resolve) => {
    server.listen(path, resolve);
  });
  linkSync(path, stale);
  await assert.rejects(refuseTakenExport(path, undefined), refusal('busy', /another process listens/));
  await new Promise((resolve) => server.close(resolve));
  assert.ok(lstatSync(stale).isSocket());
  await refuseTakenExport(stale, undefined);
  await refuseTakenExport(undefined, undefined);
});

test('a file, a missing folder and a path too long are refused', async () => {
  const file = join(folder, 'file');
  writeFileSync(file, '');
  await assert.rejects(refuseTakenExport(file, undefined), refusal('busy', /not a socket/));
  await assert.rejects(
    refuseTakenExport(join(folder, 'no', 'x'), undefined),
    refusal('not-found', /no folder/),
  );
  await assert.rejects(refuseTakenExport(`/${'x'.repeat(107)}`, undefined), refusal('usage', /107 bytes/));
});

test('a port that somebody listens on is busy, and free again when he goes', async () => {
  await new Promise<void>((resolve) => {
    server.listen(0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  await assert.rejects(refuseTakenExport(undefined, port), refusal('busy', /another process listens/));
  await new Promise((resolve) => server.close(resolve));
  await refuseTakenExport(undefined, port);
});
