// Serves a file by our own NBD server without a remap target: what the remap target costs is the difference.
//
//   node linear-server.js FILE SOCKET

import process from 'node:process';
import { createDataPlane } from '../src/io/data-plane.ts';
import { createMappedDevice } from '../src/mapping/create-mapped-device.ts';
import { TargetRegistry } from '../src/mapping/registry.ts';
import { NbdServer } from '../src/nbd/server.ts';
import { standardTargets } from '../src/targets/standard-targets.ts';

const sectorBytes = 512;
const closeDeadlineMs = 5_000;
/** As much client memory as a remap device has (src/device/stack/disks.ts). */
const arenaBytes = 80 * 1024 * 1024;

const [path = '', socketPath = ''] = process.argv.slice(2);
const plane = createDataPlane({ arenaBytes });
const file = await plane.openFile({ path, cache: 'writeback', lock: false });
const device = await createMappedDevice({
  name: 'linear',
  table: `0 ${file.geometry.sizeBytes / sectorBytes} linear file 0`,
  registry: new TargetRegistry(standardTargets(plane)),
  openDevice: () => Promise.resolve(file),
});
const server = new NbdServer({
  exports: [{ name: device.name, device }],
  arena: plane.arena,
  clock: plane.clock,
});
server.listen(plane.listenUnix(socketPath));

async function close(): Promise<void> {
  await server.close(closeDeadlineMs);
  await device.close();
  await plane.close();
}

process.once('SIGTERM', () => void close());
