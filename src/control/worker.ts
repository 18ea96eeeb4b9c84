/**
 * The control plane's thread. It owns the control API and nothing of the disk: whatever goes wrong here ends this
 * thread only, and `device/control-plane.ts` starts another.
 */
import { type MessagePort, parentPort, workerData } from 'node:worker_threads';
import { assert } from '../block/assert.ts';
import type { DataPlaneMessage, WorkerMessage, WorkerSettings } from '../device/messages.ts';
import { systemRoots } from '../io/system-files.ts';
import { answerDeadlineMs, DataPlaneClient } from './data-plane-client.ts';
import { DataThreadWatch } from './data-thread-watch.ts';
import { HealthService } from './health/health-service.ts';
import { PeerGuard } from './peer-guard.ts';
import { listenOnSocket } from './server.ts';

function settingsOf(data: unknown): WorkerSettings {
  assert(
    typeof data === 'object' &&
      data !== null &&
      'socketPath' in data &&
      typeof data.socketPath === 'string' &&
      'turnSign' in data &&
      data.turnSign instanceof SharedArrayBuffer &&
      'tunes' in data &&
      typeof data.tunes === 'boolean',
    'control worker: started without settings',
  );
  return { socketPath: data.socketPath, turnSign: data.turnSign, tunes: data.tunes };
}

const port = parentPort;
assert(port !== null, 'control worker: not started as a worker');
const settings = settingsOf(workerData);
const tell = (message: WorkerMessage): void => port.postMessage(message);
const guard = new PeerGuard({ onDenied: (denied) => tell({ kind: 'denied', ...denied }) });
const watch = new DataThreadWatch(settings.turnSign);
const client = new DataPlaneClient(port, answerDeadlineMs, () => watch.stalledMs);
const health = new HealthService({ asker: client, tell, roots: systemRoots });
// Nothing is awaited at the top: what is installed is CommonJS (scripts/bundle.mjs).
void listen(port);

async function listen(port: MessagePort): Promise<void> {
  const server = await listenOnSocket(settings.socketPath, health, guard);
  port.on('message', (message: DataPlaneMessage) => {
    if (message.kind === 'news') health.news();
    if (message.kind !== 'finish') return;
    health.close();
    server.close(() => port.close());
    server.closeIdleConnections();
  });
  tell({ kind: 'listening' });
  if (settings.tunes) await health.tune();
}
