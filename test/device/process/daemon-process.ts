/** One device in a process of its own, with a control plane that can be broken: `daemon-process.js SPARE RUNTIME`. */
import process from 'node:process';
import { runDaemon } from '../../../src/device/process/daemon.ts';

const [sparePath, runtimeDirectory] = process.argv.slice(2);
if (sparePath === undefined || runtimeDirectory === undefined) throw new Error('SPARE RUNTIME');

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
