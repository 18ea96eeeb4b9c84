#!/usr/bin/env node
import process from 'node:process';
import { runProgram } from './program.ts';
import { processTerminal } from './terminal.ts';

/** A disk that hangs may still hold a request of ours; nobody waits for it any longer. */
const exitGraceMs = 2_000;

// Nothing is awaited at the top: what is installed is one CommonJS file made of all this (scripts/bundle.mjs).
void main(process.argv.slice(2));

async function main(words: readonly string[]): Promise<void> {
  // The device of `serve` lives in this very process. One that was launched is what it should be already.
  if (words[0] === 'serve') (await import('./prepare-process.ts')).prepareProcess(words);
  else if (words[0] === 'scan' || words[0] === 'assemble') {
    const { looksAtDisks, prepareLook } = await import('../device/process/prepare-look.ts');
    if (looksAtDisks(words)) prepareLook();
  }

  // Set, not exited with: what is still in the pipe of standard output must get out.
  process.exitCode = await runProgram(words, processTerminal());
  setTimeout(() => void endNow(), exitGraceMs).unref();
}

/** Whoever opens disks has loaded this: nothing has to be read for it through threads that may hang. */
async function endNow(): Promise<void> {
  const { endProcess } = await import('../device/process/end-process.ts');
  endProcess(Number(process.exitCode ?? 0));
}
