import { lstatSync, mkdirSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import process from 'node:process';
import { crc32c } from '@node-rs/crc32';
import { HostState } from '../../../src/device/host/host-state.ts';
import { encodeKnownSession, rollbackOf } from '../../../src/device/host/known-session.ts';
import { formatIdentity, identityOfProcess } from '../../../src/device/process/process-identity.ts';
import {
  deviceFolder,
  folderState,
  listDevices,
  removeDeadFolder,
} from '../../../src/device/process/runtime-directory.ts';
import { SetupError } from '../../../src/device/setup-error.ts';
import { type FuzzSession, type FuzzTarget, must, mustBeOneLine, textWords } from '../engine/fuzz-target.ts';
import { temporaryFolder } from '../engine/temporary-folder.ts';

const uuid = '6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11';
const session = {
  uuid,
  ...{ sequence: 40, sessionNonce: 'aaaaaaaaaaaaaaaa', generation: 9, closedRevision: 0 },
  writtenUnixSeconds: 1_790_000_000,
};

function resealed(text: string): string {
  const line = text.split('\n')[0]!;
  return `${line}\n${crc32c(line)}\n`;
}

/** What a host remembers of devices. The first byte: odd numbers get the checksum that a session must have. */
export const hostState: FuzzTarget = {
  name: 'host-state',
  what: 'files of the state folder, damaged and forged: a session whose every field can be compared, or nothing; never a failure',
  inputBytesMax: 2_048,
  executionsPerLook: 64,
  executionsInTests: 2_500,
  seeds: () =>
    [session, { ...session, closedRevision: -1 }, { ...session, sequence: 0.5 }].flatMap((each) =>
      [0, 1].map((how) => Buffer.concat([Buffer.of(how), Buffer.from(encodeKnownSession(each))])),
    ),
  words: textWords(
    ...[
      '"format":1',
      '"format":2',
      '"sequence":',
      '"generation":-1',
      '"closedRevision":1e99',
      '"uuid":null',
      '\n',
    ],
    ...['null', '[]', '{}', '{', '}', '"__proto__":', '9007199254740992', '0.5', '"sessionNonce":', ','],
  ),
  open: () => Promise.resolve(new HostStateSession()),
};

class HostStateSession implements FuzzSession {
  readonly #folder = temporaryFolder();
  readonly #state = new HostState(this.#folder);

  constructor() {
    mkdirSync(this.#state.folderOf(uuid));
  }

  async run(input: Buffer): Promise<void> {
    const text = input.toString('latin1', 1);
    const bytes = (input[0] ?? 0) % 2 === 1 ? resealed(text) : text;
    for (const name of ['session', 'table']) writeFileSync(join(this.#state.folderOf(uuid), name), bytes);
    const known = await this.#state.readSession(uuid);
    if (known !== undefined) {
      must(known.uuid === uuid && typeof known.sessionNonce === 'string', 'a session of nobody');
      const numbers = [known.sequence, known.generation, known.closedRevision, known.writtenUnixSeconds];
      must(
        numbers.every((number) => Number.isSafeInteger(number) && number >= 0),
        'a number that is none',
      );
      const found = { lastSequence: 39, sessionNonce: 'b', generation: 7, revision: 1 };
      must(known.sequence <= 39 || rollbackOf(known, found) !== undefined, 'an older spare is not told');
      must(!(rollbackOf(known, found) ?? '').includes('\n'), 'a clause of two lines');
    }
    const table = await this.#state.readTable(uuid);
    must(typeof table !== 'string' || !table.includes('\n'), 'a clause of two lines');
    await this.#state.listTables();
  }

  close(): Promise<void> {
    return Promise.resolve(rmSync(this.#folder, { recursive: true, force: true }));
  }
}

const separator = '\u0000\u0001';

/** `pid`, then `elsewhere`, as a killed process or anybody may have left them. */
export const runtimeFolder: FuzzTarget = {
  name: 'runtime-folder',
  what: 'what killed processes leave in the runtime folder: live, dead or absent; a dead one can always be taken away, and nothing of anybody else with it',
  inputBytesMax: 1_024,
  executionsPerLook: 64,
  executionsInTests: 2_000,
  seeds: () =>
    [
      `${formatIdentity({ pid: 1, startTicks: 2, bootId: '6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11' })}${separator}1 FOLDER/s`,
      `SELF${separator}INODE SOCKET`,
      `4242 1 6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11\n${separator}INODE FILE`,
      `x${separator}1 SOCKET`,
    ].map((text) => Buffer.from(text)),
  words: textWords(
    ...['SELF', 'INODE', 'SOCKET', 'FILE', 'LINK', 'FOLDER', ' ', '\n', '/', '/../', separator, '\0'],
    ...['99999999999', '1', 'x'.repeat(300), '/dev/null', '-1'],
  ),
  open: () => RuntimeSession.open(),
};

class RuntimeSession implements FuzzSession {
  readonly #folder: string;
  #server: Server;

  private constructor(folder: string, server: Server) {
    this.#folder = folder;
    this.#server = server;
  }

  /** A live socket and a file of somebody else lie beside the folder of devices. */
  static async open(): Promise<RuntimeSession> {
    const folder = temporaryFolder();
    writeFileSync(join(folder, 'file'), 'of somebody');
    symlinkSync(join(folder, 'socket'), join(folder, 'link'));
    return new RuntimeSession(folder, await listening(join(folder, 'socket')));
  }

  async run(input: Buffer): Promise<void> {
    const directory = join(this.#folder, 'run');
    const folder = deviceFolder(directory, 'disk');
    rmSync(directory, { recursive: true, force: true });
    mkdirSync(folder.path, { recursive: true });
    const socket = lstatSync(join(this.#folder, 'socket'));
    const text = this.#named(input.toString('latin1'), String(socket.ino));
    const [pid = '', elsewhere] = text.split(separator);
    writeFileSync(folder.pidPath, pid, 'latin1');
    if (elsewhere !== undefined) writeFileSync(folder.elsewherePath, elsewhere, 'latin1');
    this.#judge(directory, pid);
    if (lstatSync(join(this.#folder, 'socket'), { throwIfNoEntry: false }) !== undefined) return;
    must(elsewhere?.startsWith(`${socket.ino} `) === true, 'a socket of somebody is gone');
    this.#server.close();
    this.#server = await listening(join(this.#folder, 'socket'));
  }

  #named(text: string, inode: string): string {
    const places = { SOCKET: 'socket', FILE: 'file', LINK: 'link' };
    let named = text
      .replaceAll('INODE', inode)
      .replaceAll('SELF', formatIdentity(identityOfProcess(process.pid)!));
    for (const [word, name] of Object.entries(places))
      named = named.replaceAll(word, join(this.#folder, name));
    return named.replaceAll('FOLDER', this.#folder);
  }

  #judge(directory: string, pid: string): void {
    const folder = deviceFolder(directory, 'disk');
    const isOurs = pid === formatIdentity(identityOfProcess(process.pid)!);
    const { state } = folderState(folder);
    must(state !== 'absent' && (state === 'live' || !isOurs), `a folder is called ${state}`);
    must(listDevices(directory).length === 1, 'a folder is not listed');
    try {
      must(removeDeadFolder(directory, folder) && state === 'dead', 'a live folder was removed');
    } catch (error) {
      if (!(error instanceof SetupError)) throw error;
      mustBeOneLine(error);
      must(state === 'live' && error.reason === 'busy', 'a dead folder stays');
    }
    must(statSync(join(this.#folder, 'file')).size > 0, 'the file of somebody is gone');
    must(lstatSync(join(this.#folder, 'link')).isSymbolicLink(), 'the link of somebody is gone');
  }

  close(): Promise<void> {
    this.#server.close();
    return Promise.resolve(rmSync(this.#folder, { recursive: true, force: true }));
  }
}

async function listening(path: string): Promise<Server> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(path, resolve));
  server.unref();
  return server;
}
