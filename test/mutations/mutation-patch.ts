/** Some lines of one file, and what stands there instead. */
interface Hunk {
  readonly before: readonly string[];
  readonly after: readonly string[];
}

export interface FilePatch {
  /** Below the project. */
  readonly path: string;
  readonly hunks: readonly Hunk[];
}

/** One deliberate bug. */
export interface MutationPatch {
  readonly name: string;
  /** The rule it breaks and what the bug is: what stands before the first file. */
  readonly about: string;
  readonly files: readonly FilePatch[];
}

/** A patch that cannot be read, or sources it no longer goes with; one line for people. */
export class MutationPatchError extends Error {
  override readonly name = 'MutationPatchError';
}

/**
 * Reads a unified diff with few lines of context:
 *
 *     R22 A flush joins one that is already submitted.
 *
 *     --- a/src/remap/order/flush-gate.ts
 *     +++ b/src/remap/order/flush-gate.ts
 *     @@
 *      a line that stays
 *     -a line that goes
 *     +a line that comes
 *
 * Line numbers are not needed: what stays and goes must stand together exactly once in the file, whatever its indentation,
 * so that edits around it do no harm.
 */
export function parseMutationPatch(name: string, text: string): MutationPatch {
  const [head = '', ...parts] = text.split(/^--- (?:a\/)?/m);
  const files = parts.map((part) => parseFile(name, part));
  const about = head.trim().replaceAll(/\s+/g, ' ');
  if (files.length === 0) throw new MutationPatchError(`${name}: names no file, expected '--- a/src/…'`);
  if (about === '') throw new MutationPatchError(`${name}: says nothing about its bug before the first file`);
  return { name, about, files };
}

function parseFile(name: string, part: string): FilePatch {
  const [path = '', , ...lines] = part.split('\n');
  const hunks: { before: string[]; after: string[] }[] = [];
  for (const line of lines) {
    const hunk = hunks.at(-1);
    const rest = line.slice(1);
    if (line.startsWith('@@')) hunks.push({ before: [], after: [] });
    else if (hunk === undefined || line === '') continue;
    else if (line.startsWith('-')) hunk.before.push(rest);
    else if (line.startsWith('+')) hunk.after.push(rest);
    else if (line.startsWith(' ')) {
      hunk.before.push(rest);
      hunk.after.push(rest);
    } else throw new MutationPatchError(`${name}: '${line}' is no line of a diff`);
  }
  if (hunks.length === 0 || hunks.some(({ before }) => before.length === 0)) {
    throw new MutationPatchError(`${name}: ${path} has no hunk, or one without a line to find`);
  }
  return { path: path.trim(), hunks };
}

/** The file's text with the bug in it. Throws a `MutationPatchError` that names the file when a hunk does not fit once. */
export function applyFilePatch(name: string, patch: FilePatch, source: string): string {
  let lines = source.split('\n');
  for (const { before, after } of patch.hunks) {
    const wanted = before.map((line) => line.trim());
    const places = lines
      .map((_, at) => at)
      .filter((at) => wanted.every((line, index) => lines[at + index]?.trim() === line));
    const [place] = places;
    if (place === undefined || places.length > 1) {
      const found = place === undefined ? 'is not there' : `is there ${places.length} times`;
      throw new MutationPatchError(
        `test/mutations/${name}.patch no longer fits: in ${patch.path} '${wanted[0]}' ${found}: look there and adapt the patch`,
      );
    }
    lines = [...lines.slice(0, place), ...after, ...lines.slice(place + before.length)];
  }
  return lines.join('\n');
}
