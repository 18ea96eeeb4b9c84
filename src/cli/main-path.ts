import { extname } from 'node:path';
import { fileURLToPath } from 'node:url';

/** The program that runs now: beside this file, or this very file where the program is one. */
export function mainPath(): string {
  return fileURLToPath(new URL(`./main${extname(import.meta.url)}`, import.meta.url));
}
