import { statSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/**
 * The program as people start it, one file (scripts/bundle.mjs); where somebody compiled since and made none, the compiler's
 * modules, which are the same program: what is measured or tested is never an older one.
 */
export function programPath(): string {
  const modules = fileURLToPath(new URL('../src/cli/main.js', import.meta.url));
  const oneFile = fileURLToPath(new URL('../program/cli/main.cjs', import.meta.url));
  return changedMs(oneFile) >= changedMs(modules) ? oneFile : modules;
}

function changedMs(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? 0;
}
