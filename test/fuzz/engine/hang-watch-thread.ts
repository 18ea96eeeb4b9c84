import { writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { workerData } from 'node:worker_threads';
import { Count, type SharedExecution } from './hang-watch.ts';

/** Seconds. Real time on a machine that may be busy: an execution takes milliseconds. */
const hangSeconds = 30;
const lookMs = 1_000;
const standardError = 2;

const { counts, nameBytes, inputBytes, directory } = workerData as SharedExecution & { directory: string };
let lastBegun = -1;
let looks = 0;

setInterval(() => {
  const begun = Atomics.load(counts, Count.begun);
  const isOver = Atomics.load(counts, Count.ended) === begun;
  looks = isOver || begun !== lastBegun ? 0 : looks + 1;
  lastBegun = begun;
  if (looks * lookMs < hangSeconds * 1_000) return;
  const name = Buffer.from(nameBytes.slice(0, counts[Count.nameBytes])).toString();
  const path = join(directory, `fuzz-${name}-hang.bin`);
  writeFileSync(path, inputBytes.slice(0, counts[Count.inputBytes]));
  writeSync(
    standardError,
    `${name}: no end after ${hangSeconds} s; again: npm run fuzz -- --target ${name} --replay ${path}\n`,
  );
  process.kill(process.pid, 'SIGKILL');
}, lookMs);
