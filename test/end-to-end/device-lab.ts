import assert from 'node:assert/strict';
import { type ChildProcess, execFile, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import {
  createReadStream,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { pipeline } from 'node:stream/promises';
import { programPath } from '../../bench/program-path.ts';
import { sectorBytes } from '../../src/block/block-device.ts';
import { isRunning, type ProcessIdentity, parseIdentity } from '../../src/device/process/process-identity.ts';
import { createDataPlane, type DataPlane } from '../../src/io/data-plane.ts';
import { connectNbd, type NbdClient } from '../../src/nbd/client.ts';

const program = programPath();
const commandTimeoutMs = 60_000;

export interface CommandResult {
  readonly exitCode: number;
  readonly output: string;
  readonly errors: string;
}

export interface StartedCommand {
  readonly child: ChildProcess;
  /** Its exit code. */
  readonly ended: Promise<number | null>;
  /** Everything that it wrote to standard output, and to standard error, up to now. */
  readonly output: () => string;
  readonly errors: () => string;
}

/** A folder with disks in it, a runtime directory of its own, and the command line as people use it. */
export class DeviceLab {
  readonly program: string = program;
  readonly folder: string = mkdtempSync(join(tmpdir(), 'dm-remap-lab-'));
  readonly runtime: string = join(this.folder, 'run');
  /** What the host remembers; one for each machine that a test plays. */
  state: string = join(this.folder, 'state');
  #plane: DataPlane | undefined;
  readonly #clients: NbdClient[] = [];

  constructor() {
    mkdirSync(this.runtime);
  }

  path(name: string): string {
    return join(this.folder, name);
  }

  /** An image file of zeros. */
  image(name: string, sizeBytes: number): string {
    const path = this.path(name);
    writeFileSync(path, '');
    truncateSync(path, sizeBytes);
    return path;
  }

  /** A table over an image whose `bad` sectors (start, count) are of `target`: `error` or `dust`. */
  faultTable(
    name: string,
    image: string,
    sizeBytes: number,
    bad: readonly (readonly [number, number])[],
  ): string {
    const lines: string[] = [];
    let at = 0;
    for (const [start, count] of bad) {
      if (start > at) lines.push(`${at} ${start - at} linear ${image} ${at}`);
      lines.push(`${start} ${count} error`);
      at = start + count;
    }
    const end = sizeBytes / sectorBytes;
    if (end > at) lines.push(`${at} ${end - at} linear ${image} ${at}`);
    const path = this.path(name);
    writeFileSync(path, `${lines.join('\n')}\n`);
    return path;
  }

  /** Runs `dm-remap WORDS…` to its end. */
  run(...words: readonly string[]): Promise<CommandResult> {
    return new Promise((resolve) => {
      execFile(
        process.execPath,
        [program, ...words],
        {
          cwd: this.folder,
          env: this.environment(),
          timeout: commandTimeoutMs,
        },
        (error, output, errors) => {
          const code = error === null ? 0 : error.code;
          resolve({ exitCode: typeof code === 'number' ? code : -1, output, errors });
        },
      );
    });
  }

  /** Starts `dm-remap WORDS…` and leaves it running. */
  start(...words: readonly string[]): StartedCommand {
    return this.startWith({}, ...words);
  }

  /** The same with more in its environment. */
  startWith(more: NodeJS.ProcessEnv, ...words: readonly string[]): StartedCommand {
    const child = spawn(process.execPath, [program, ...words], {
      cwd: this.folder,
      env: { ...this.environment(), ...more },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    let output = '';
    let errors = '';
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      errors += text;
    });
    const ended = new Promise<number | null>((resolve) => {
      child.once('close', resolve);
    });
    return { child, ended, output: () => output, errors: () => errors };
  }

  /** As `run`; anything but success fails the test with what the command said. */
  async mustRun(...words: readonly string[]): Promise<string> {
    const result = await this.run(...words);
    assert.equal(result.exitCode, 0, `dm-remap ${words.join(' ')}: ${result.errors}${result.output}`);
    return result.output;
  }

  /** One refused command: its code, and one line that names the command. */
  async mustFail(exitCode: number, message: RegExp, ...words: readonly string[]): Promise<void> {
    const result = await this.run(...words);
    const said = `dm-remap ${words.join(' ')}: ${result.errors}`;
    assert.equal(result.exitCode, exitCode, said);
    assert.match(result.errors, message, said);
    assert.match(result.errors, /^dm-remap: [^\n]+\n$/, `one line: ${said}`);
    assert.equal(result.output, '', said);
  }

  environment(): NodeJS.ProcessEnv {
    return { ...process.env, DM_REMAP_RUNTIME_DIR: this.runtime, DM_REMAP_STATE_DIR: this.state };
  }

  inode(name: string): number {
    return statSync(this.path(name)).ino;
  }

  identity(name: string): ProcessIdentity {
    const identity = parseIdentity(readFileSync(join(this.runtime, name, 'pid'), 'latin1'));
    assert.ok(identity !== undefined, 'a pid file');
    return identity;
  }

  /** Ends a device's process as a power button would. */
  async kill(name: string): Promise<void> {
    const identity = this.identity(name);
    process.kill(identity.pid, 'SIGKILL');
    while (isRunning(identity)) await new Promise((resolve) => setTimeout(resolve, 2));
  }

  /** Our own client on a device's socket. */
  async connect(name: string): Promise<NbdClient> {
    this.#plane ??= createDataPlane();
    const plane = this.#plane;
    const client = await connectNbd(await plane.connectUnix(join(this.runtime, name, 'nbd.sock')), name);
    this.#clients.push(client);
    return client;
  }

  /** Device folders, those of killed ones too; nothing else may be in the runtime directory. */
  leftovers(): string[] {
    return existsSync(this.runtime) ? readdirSync(this.runtime) : [];
  }

  /** Ends whatever a failed test left, and removes the folder. */
  async close(): Promise<void> {
    for (const client of this.#clients) await client.close();
    await this.#plane?.close();
    for (const name of this.leftovers()) {
      const pidPath = join(this.runtime, name, 'pid');
      if (existsSync(pidPath) && isRunning(this.identity(name))) await this.kill(name);
    }
    rmSync(this.folder, { recursive: true, force: true });
  }
}

export async function fileHash(path: string): Promise<string> {
  const hash = createHash('sha256');
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Bytes that tell which sector they belong to and which round wrote them. */
export function pattern(offset: number, length: number, round: number): Uint8Array {
  const bytes = new Uint8Array(length);
  const words = new Uint32Array(bytes.buffer);
  for (let at = 0; at < words.length; at += 1) words[at] = (offset / 4 + at) * 2_654_435_761 + round * 97;
  return bytes;
}
