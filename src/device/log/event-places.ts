import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { eventFileName } from './event-log-file.ts';

/**
 * Every event log of this host: one folder each of the host state, and of the runtime directory for devices without. Which
 * device one is of, its lines say. Throws the system's error.
 */
export function eventLogPaths(
  stateDirectory: string | undefined,
  runtimeDirectory: string | undefined,
): readonly string[] {
  return [stateDirectory, runtimeDirectory]
    .filter((directory) => directory !== undefined)
    .flatMap(foldersOf)
    .map((folder) => join(folder, eventFileName))
    .filter((path) => existsSync(path) || existsSync(`${path}.1`));
}

function foldersOf(directory: string): readonly string[] {
  if (!existsSync(directory)) return [];
  return readdirSync(directory, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => join(directory, entry.name));
}
