import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { accessSync, constants } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';

const toolTimeoutMs = 120_000;

/** Programs of the system first; Debian keeps many of them in sbin, which is not in a person's PATH. */
const folders = ['/usr/bin', '/bin', '/usr/sbin', '/sbin', ...(process.env['PATH'] ?? '').split(':')];
const environment = { ...process.env, PATH: folders.join(':'), LC_ALL: 'C.UTF-8' };

/** For the `skip` of a test: which of the programs is not there. The words make it a failure in CI. */
export function missingTool(...tools: readonly string[]): string | false {
  const missing = tools.find(
    (tool) => !folders.some((folder) => isAllowed(join(folder, tool), constants.X_OK)),
  );
  return missing === undefined ? false : `missing tool: ${missing}`;
}

/** For the `skip` of a test that mounts: what this machine, or this user, does not have. */
export function missingForMounts(): string | false {
  if (process.getuid?.() !== 0) return 'needs root';
  const device = ['/dev/fuse', '/dev/loop-control'].find((path) => !isAllowed(path, constants.W_OK));
  return device === undefined ? false : `needs ${device}`;
}

function isAllowed(path: string, mode: number): boolean {
  try {
    accessSync(path, mode);
    return true;
  } catch {
    return false;
  }
}

export interface ToolResult {
  /** Undefined when a signal ended it. */
  readonly status: number | undefined;
  /** Standard output and error, as they came. */
  readonly output: string;
}

/** Runs a program of somebody else to its end. */
export function runTool(tool: string, ...words: readonly string[]): Promise<ToolResult> {
  return runLongTool(toolTimeoutMs, tool, ...words);
}

/** As `runTool`, for one that may take longer than tools do. */
export function runLongTool(
  timeoutMs: number,
  tool: string,
  ...words: readonly string[]
): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, words, {
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: timeoutMs,
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    child.on('error', reject);
    child.on('close', (status) => resolve({ status: status ?? undefined, output }));
  });
}

/** As `runTool`; anything but success fails the test with what the program said. */
export async function mustRunTool(tool: string, ...words: readonly string[]): Promise<string> {
  const { status, output } = await runTool(tool, ...words);
  assert.equal(status, 0, `${tool} ${words.join(' ')}: ${output}`);
  return output;
}
