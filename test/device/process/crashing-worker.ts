/** The real control plane with a way to break it: answers that say so crash it, or eat its heap. */
import { parentPort } from 'node:worker_threads';
import type { DataPlaneMessage } from '../../../src/device/messages.ts';
import '../../../src/control/worker.ts';

const eaten: string[][] = [];

parentPort?.on('message', (message: DataPlaneMessage) => {
  if (message.kind !== 'answer' || !('reply' in message.answer)) return;
  if (message.answer.reply === 'crash') throw new Error('crashed as asked');
  if (message.answer.reply === 'eat') {
    for (;;) eaten.push(Array.from({ length: 100_000 }, (_, index) => `eaten ${index}`));
  }
});
