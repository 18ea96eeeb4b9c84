import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

/** Bytes of one file of the corpus. */
export const corpusFileBytesMax = 8_192;

/** test/fuzz/corpus of the sources, seen from the compiled form of this file. */
export const corpusRoot: string = fileURLToPath(new URL('../../../../test/fuzz/corpus/', import.meta.url));

/** A file's name says what is in it, so that none is there twice. */
export function corpusName(input: Buffer): string {
  return createHash('sha256').update(input).digest('hex').slice(0, 16);
}

/** In the order of the names: the same on every machine. */
export function readCorpus(target: string): readonly Buffer[] {
  const folder = join(corpusRoot, target);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .sort()
    .map((name) => readFileSync(join(folder, name)));
}

export function writeCorpus(target: string, inputs: readonly Buffer[]): number {
  const folder = join(corpusRoot, target);
  mkdirSync(folder, { recursive: true });
  let written = 0;
  for (const input of inputs) {
    const path = join(folder, corpusName(input));
    if (input.length > corpusFileBytesMax || existsSync(path)) continue;
    writeFileSync(path, input);
    written += 1;
  }
  return written;
}
