/** Brings the boxes of docs/cli.md up to date: `npm run build && node dist/test/cli/write-command-reference.js`. */
import { writeFileSync } from 'node:fs';
import { readReference, referencePath, referenceWithHelp } from './command-reference.ts';

writeFileSync(referencePath, referenceWithHelp(readReference()));
