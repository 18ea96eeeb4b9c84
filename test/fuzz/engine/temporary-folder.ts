import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';

/** A folder that is gone when the process ends: after a finding nobody closes a session. */
export function temporaryFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'dm-remap-fuzz-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true }));
  return folder;
}
