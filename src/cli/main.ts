#!/usr/bin/env node
import process from 'node:process';
import { runProgram } from './program.ts';
import { processTerminal } from './terminal.ts';

// Set, not exited with: what is still in the pipe of standard output must get out.
process.exitCode = await runProgram(process.argv.slice(2), processTerminal());
