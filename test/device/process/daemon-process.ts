/** One device in a process of its own, with a control plane that can be broken: `daemon-process.js SPARE RUNTIME`. */
import process from 'node:process';
import { assert } from '../../../src/block/assert.ts';
import { runDaemon } from '../../../src/device/process/daemon.ts';

const [sparePath, runtimeDirectory] = process.argv.slice(2);
if (sparePath === undefined || runtimeDirectory === undefined) throw new Error('SPARE RUNTIME');

process.on('SIGUSR2', () => assert(false, 'broken as asked'));

const end = await runDaemon(
  { sparePath, cache: 'none', force: false, acceptMain: false, acceptChanges: false },
  {
    runtimeDirectory,
    stateDirectory: `${runtimeDirectory}/.state`,
    workerUrl: new URL('./breakable-worker.js', import.meta.url),
    version: '0.0.0',
    detached: true,
    onReady: () => process.stdout.write('ready\n'),
  },
);
process.stdout.write(`${JSON.stringify(end)}\n`);
