/** Listens, as it says, and crashes at once. */
import { parentPort } from 'node:worker_threads';
import type { WorkerMessage } from '../../../src/device/messages.ts';

const listening: WorkerMessage = { kind: 'listening' };
parentPort?.postMessage(listening);
setTimeout(() => {
  throw new Error('crashes at once');
}, 1);
