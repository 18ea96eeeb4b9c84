/**
 * The control plane's thread. It owns the control API and nothing of the disk: whatever goes wrong here ends this
 * thread only, and `device/control-plane.ts` starts another.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { assert } from '../block/assert.ts';
import type { DataPlaneMessage, WorkerMessage, WorkerSettings } from '../device/messages.ts';
import { answerDeadlineMs, DataPlaneClient } from './data-plane-client.ts';
import { DataThreadWatch } from './data-thread-watch.ts';
import { PeerGuard } from './peer-guard.ts';
import { listenOnSocket } from './server.ts';

function settingsOf(data: unknown): WorkerSettings {
  assert(
    typeof data === 'object' &&
      data !== null &&
      'socketPath' in data &&
      typeof data.socketPath === 'string' &&
      'turnSign' in data &&
      data.turnSign instanceof SharedArrayBuffer,
    'control worker: started without settings',
  );
  return { socketPath: data.socketPath, turnSign: data.turnSign };
}

const port = parentPort;
assert(port !== null, 'control worker: not started as a worker');
const settings = settingsOf(workerData);
const tell = (message: WorkerMessage): void => port.postMessage(message);
const guard = new PeerGuard({ onDenied: (denied) => tell({ kind: 'denied', ...denied }) });
const watch = new DataThreadWatch(settings.turnSign);
const client = new DataPlaneClient(port, answerDeadlineMs, () => watch.stalledMs);
// Nothing is awaited at the top: what is installed is CommonJS (scripts/bundle.mjs).
void listen(port);

async function listen(port: MessagePort): Promise<void> {
  const server = await listenOnSocket(settings.socketPath, client, guard);
  port.on('message', (message: DataPlaneMessage) => {
    if (message.kind !== 'finish') return;
    server.close(() => port.close());
    server.closeIdleConnections();
  });
  tell({ kind: 'listening' });
}
