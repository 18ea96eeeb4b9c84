import assert from 'node:assert/strict';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDataPlane } from '../../../src/io/data-plane.ts';
import { connectNbd } from '../../../src/nbd/client.ts';
import { NbdServer } from '../../../src/nbd/server.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { settle } from '../manual-clock.ts';
import { ServerFixture } from '../server-fixture.ts';
import { emptyDisk, type HostileTarget, LateDevice, memoryLink, socketLink } from './hostile-target.ts';

const mebibyte = 1024 * 1024;

/** So that payloads of a few sectors go the way of long ones. */
export const hostileLimits = { connectionsMax: 4, directPayloadBytesMin: 2048 } as const;

function readOnlyExport(): { name: string; device: ReturnType<typeof emptyDisk>; readOnly: boolean } {
  return { name: 'disk/main', device: emptyDisk('main'), readOnly: true };
}

/** A server and its streams in memory, for `body`; proves that nothing of it is left. */
export async function withMemoryServer<T>(
  seed: string,
  body: (target: HostileTarget) => Promise<T>,
): Promise<T> {
  const disk = emptyDisk('disk');
  const random = new SeededRandom(`${seed}/disk`);
  const fixture = new ServerFixture({
    device: new LateDevice(disk, random),
    moreExports: [readOnlyExport()],
    limits: hostileLimits,
  });
  const healthy = await fixture.client();
  await settle();
  const result = await body({
    server: fixture.server,
    disk,
    healthy,
    idleBytes: fixture.arena.usedBytes,
    usedBytes: () => fixture.arena.usedBytes,
    connect: (links, isDeaf) => memoryLink(fixture.server, links, isDeaf),
    settle,
  });
  await healthy.disconnect();
  await settle();
  await fixture.end();
  return result;
}

/** The same on a Unix socket of a real engine. */
export async function withSocketServer<T>(
  seed: string,
  body: (target: HostileTarget) => Promise<T>,
): Promise<T> {
  const directory = await mkdtemp(join(tmpdir(), 'dm-remap-hostile-'));
  const plane = createDataPlane({ arenaBytes: 16 * mebibyte });
  try {
    const disk = emptyDisk('disk');
    const device = new LateDevice(disk, new SeededRandom(`${seed}/disk`));
    const { arena, clock } = plane;
    const exports = [{ name: 'disk', device }, readOnlyExport()];
    const server = new NbdServer({ exports, arena, clock, limits: hostileLimits });
    const path = join(directory, 'nbd.sock');
    server.listen(plane.listenUnix(path));
    const healthy = await connectNbd(await plane.connectUnix(path), '');
    const turn = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 0));
    await turn();
    const result = await body({
      server,
      disk,
      healthy,
      idleBytes: arena.usedBytes,
      usedBytes: () => arena.usedBytes,
      connect: (_links, isDeaf) => socketLink(path, isDeaf),
      settle: turn,
    });
    await healthy.disconnect();
    assert.equal(await server.close(5_000), 0, 'no request is left at the device');
    assert.equal(arena.usedBytes, 0, 'the arena is empty');
    return result;
  } finally {
    await plane.close();
    await rm(directory, { recursive: true, force: true });
  }
}
