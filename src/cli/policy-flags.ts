import type { Command } from 'commander';

/** The policies that `create` can set; later `message NAME 0 policy` changes them. Names as in `remap/policies.ts`. */
const flags: readonly (readonly [name: string, value: string, description: string])[] = [
  ['path-timeout', 'SECONDS', 'how long requests wait for a disk that does not answer'],
  ['on-lost', 'WHAT', 'reads of lost sectors: error or zero'],
  ['on-spare-full', 'WHAT', 'a full spare: fail-writes or read-only'],
  ['on-write-error', 'WHAT', 'a failed write: remap or rewrite-first'],
  ['main-cache', 'MODE', "main's own volatile cache: off, fua (from the first bad sector) or as-is"],
  ['verify', 'WHEN', 'read back what is moved: first, always or off'],
  ['salvage', 'SWITCH', 'go on reading lost sectors in the background: on or off'],
];

/** Adds a flag for each policy. */
export function addPolicyFlags(command: Command): void {
  for (const [name, value, description] of flags) command.option(`--${name} <${value}>`, description);
}

/** What was given of them, by name. */
export function policiesGiven(
  options: Readonly<Record<string, string | boolean | undefined>>,
): Readonly<Record<string, string>> {
  const given: Record<string, string> = {};
  for (const [name] of flags) {
    const value = options[name.replace(/-[a-z]/g, (part) => part.slice(1).toUpperCase())];
    if (typeof value === 'string') given[name] = value;
  }
  return given;
}
