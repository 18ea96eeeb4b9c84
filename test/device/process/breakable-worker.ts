/** The real control plane, which crashes when a file `break` lies beside its socket; the file is then gone. */
import { existsSync, rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { workerData } from 'node:worker_threads';
import type { WorkerSettings } from '../../../src/device/messages.ts';
import '../../../src/control/worker.ts';

const { socketPath }: WorkerSettings = workerData;
const breakPath = join(dirname(socketPath), 'break');

setInterval(() => {
  if (!existsSync(breakPath)) return;
  rmSync(breakPath);
  throw new Error('broken as asked');
}, 5).unref();
