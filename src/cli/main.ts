#!/usr/bin/env node
import process from 'node:process';
import { runProgram } from './program.ts';
import { processTerminal } from './terminal.ts';

/** A disk that hangs may still hold a request of ours; nobody waits for it any longer. */
const exitGraceMs = 2_000;

// Set, not exited with: what is still in the pipe of standard output must get out.
process.exitCode = await runProgram(process.argv.slice(2), processTerminal());
setTimeout(() => process.exit(), exitGraceMs).unref();
