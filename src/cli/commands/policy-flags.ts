import type { Command } from 'commander';

/** Policies that can be given where a device is made or assembled; `policy NAME` changes them. Names as in `remap/policies.ts`. */
const flags: readonly (readonly [name: string, value: string, description: string])[] = [
  ['path-timeout', 'SECONDS', 'how long requests wait for a disk that does not answer'],
  ['on-lost', 'WHAT', 'reads of lost sectors: error or zero'],
  ['on-spare-full', 'WHAT', 'a full spare: fail-writes or read-only'],
  ['on-write-error', 'WHAT', 'a failed write: remap or rewrite-first'],
  ['main-cache', 'MODE', "main's own volatile cache: off, fua (from the first bad sector) or as-is"],
  ['verify', 'WHEN', 'read back what is moved: first, always or off'],
  ['salvage', 'SWITCH', 'go on reading lost sectors in the background: on or off'],
  ['health', 'SWITCH', 'watch how healthy the disks are, with smartctl: on or off'],
  ['tune', 'SWITCH', 'set disks up for recovering errors (SCT ERC, kernel time-out): on or off'],
  ['export-main', 'SWITCH', 'export main itself too, read-only, as NAME/main: on or off'],
  ['scrub-rate', 'MIB', 'a scrub reads at most so many MiB a second; 0: no limit'],
  ['scrub-every', 'DAYS', 'from the end of one scrub to the next; 0: only when asked'],
  ['slow-read', 'WHAT', 'blocks that a scrub finds slow: off, report or move'],
  ['slow-read-ms', 'MS', 'no read that takes less is slow'],
  ['slow-moves', 'COUNT', 'blocks moved for being slow, at most, an hour'],
];

/** Those that are also given as `--no-NAME`. */
const negated: readonly string[] = ['health', 'tune', 'export-main'];

/** Adds a flag for each policy. */
export function addPolicyFlags(command: Command): Command {
  for (const [name, value, description] of flags) command.option(`--${name} <${value}>`, description);
  for (const name of negated) command.option(`--no-${name}`, `as --${name} off`);
  return command;
}

/** The flags that mean `policies`. */
export function policyArguments(policies: Readonly<Record<string, string>>): string[] {
  return Object.entries(policies).flatMap(([name, value]) => [`--${name}`, value]);
}

/** What was given of them, by name. */
export function policiesGiven(options: object): Readonly<Record<string, string>> {
  const words = new Map<string, unknown>(Object.entries(options));
  const given: Record<string, string> = {};
  for (const [name] of flags) {
    const value = words.get(name.replace(/-[a-z]/g, (part) => part.slice(1).toUpperCase()));
    if (typeof value === 'string') given[name] = value;
    else if (value === false) given[name] = 'off';
  }
  return given;
}
