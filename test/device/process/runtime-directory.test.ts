import assert from 'node:assert/strict';
import {
  chmodSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import {
  formatIdentity,
  identityOfProcess,
  parseIdentity,
} from '../../../src/device/process/process-identity.ts';
import {
  claimFolder,
  deviceFolder,
  folderState,
  listDevices,
  makeRuntimeDirectory,
  releaseFolder,
  removeDeadFolder,
  runtimeDirectory,
} from '../../../src/device/process/runtime-directory.ts';
import { SetupError } from '../../../src/device/setup-error.ts';

let directory: string;
const self = identityOfProcess(process.pid)!;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'dm-remap-runtime-'));
});

afterEach(() => {
  rmSync(directory, { recursive: true, force: true });
});

/** What a process that was killed leaves behind: a folder whose process started at another time. */
function makeDead(name: string): void {
  const folder = deviceFolder(directory, name);
  mkdirSync(folder.path);
  writeFileSync(folder.pidPath, formatIdentity({ ...self, startTicks: self.startTicks - 1 }));
  writeFileSync(folder.controlSocketPath, '');
}

const reasonIs =
  (reason: string) =>
  (error: unknown): boolean =>
    error instanceof SetupError && error.reason === reason;

test('the directory is chosen by variable, then by user', () => {
  assert.equal(runtimeDirectory({ DM_REMAP_RUNTIME_DIR: '/x' }, 0), '/x');
  assert.equal(runtimeDirectory({}, 0), '/run/dm-remap');
  assert.equal(runtimeDirectory({ XDG_RUNTIME_DIR: '/run/user/7' }, 7), '/run/user/7/dm-remap');
  assert.throws(() => runtimeDirectory({}, 7), reasonIs('usage'));
});

test('the directory is made with what is above it, and what cannot be one is refused at once', () => {
  const deep = join(directory, 'a', 'b');
  makeRuntimeDirectory(deep);
  makeRuntimeDirectory(deep);
  assert.equal(statSync(deep).mode & 0o777, 0o700);
  const file = join(directory, 'file');
  writeFileSync(file, '');
  // Nobody can make a folder in /proc; Node 20's own recursion tries for ever there.
  for (const impossible of [file, join(file, 'below'), '/proc/dm-remap']) {
    assert.throws(() => makeRuntimeDirectory(impossible), reasonIs('failed'), impossible);
  }
});

test('a claimed folder is live, private, and names its process', () => {
  const folder = deviceFolder(directory, 'disk');
  claimFolder(directory, folder, self);
  assert.deepEqual(folderState(folder), { state: 'live', process: self });
  assert.equal(statSync(folder.path).mode & 0o777, 0o700);
  assert.deepEqual(parseIdentity(readFileSync(folder.pidPath, 'latin1')), self);
  releaseFolder(folder);
  assert.deepEqual(readdirSync(directory), [], 'I24: nothing is left');
});

test('a name that is live cannot be claimed again, and keeps its folder', () => {
  const folder = deviceFolder(directory, 'disk');
  claimFolder(directory, folder, self);
  assert.throws(() => claimFolder(directory, folder, self), reasonIs('busy'));
  assert.throws(() => removeDeadFolder(directory, folder), reasonIs('busy'));
  assert.equal(folderState(folder).state, 'live');
  assert.deepEqual(readdirSync(directory), ['disk']);
});

test('what a killed process left is dead, and the next claim of its name cleans it', () => {
  makeDead('disk');
  const folder = deviceFolder(directory, 'disk');
  assert.equal(folderState(folder).state, 'dead');
  claimFolder(directory, folder, self);
  assert.equal(folderState(folder).state, 'live');
  assert.equal(existsSync(folder.controlSocketPath), false, 'the old socket is gone');
});

test('a folder whose pid file is missing, cut or garbage is dead, never live', () => {
  for (const [name, content] of [
    ['missing', undefined],
    ['empty', ''],
    ['cut', formatIdentity(self).slice(0, 8)],
    ['garbage', 'hello\n'],
  ] as const) {
    const folder = deviceFolder(directory, name);
    mkdirSync(folder.path);
    if (content !== undefined) writeFileSync(folder.pidPath, content);
    assert.equal(folderState(folder).state, 'dead', name);
    assert.equal(removeDeadFolder(directory, folder), true, name);
  }
  assert.deepEqual(readdirSync(directory), []);
});

test('another boot makes every process of before dead', () => {
  const folder = deviceFolder(directory, 'disk');
  mkdirSync(folder.path);
  const bootId = '00000000-0000-0000-0000-000000000000';
  writeFileSync(folder.pidPath, formatIdentity({ ...self, bootId }));
  assert.equal(folderState(folder).state, 'dead');
});

test('half-made folders of killed processes are swept by the next claim, those of living ones are not', () => {
  // Process ids end at 2^22 on Linux, so this one never lives.
  mkdirSync(join(directory, '.claim-9999999-1-disk'));
  mkdirSync(join(directory, `.dead-${process.ppid}-other`));
  claimFolder(directory, deviceFolder(directory, 'disk'), self);
  assert.deepEqual(readdirSync(directory).sort(), [`.dead-${process.ppid}-other`, 'disk']);
});

test('devices are listed by name with their states; other entries are not devices', () => {
  claimFolder(directory, deviceFolder(directory, 'b'), self);
  makeDead('a');
  writeFileSync(join(directory, 'file'), '');
  mkdirSync(join(directory, '.hidden'));
  assert.deepEqual(
    listDevices(directory).map((one) => [one.folder.name, one.state.state]),
    [
      ['a', 'dead'],
      ['b', 'live'],
    ],
  );
  assert.deepEqual(listDevices(join(directory, 'nowhere')), []);
});

test('a folder too deep for a socket is refused with the limit', () => {
  assert.throws(() => deviceFolder(`/${'x'.repeat(100)}`, 'disk'), /107 bytes/);
});

test('a folder that may not be entered is said to be one: nobody knows what is in it', (t) => {
  if (process.getuid?.() !== 0) {
    t.skip('only root can be somebody else');
    return;
  }
  const folder = deviceFolder(directory, 'disk');
  claimFolder(directory, folder, self);
  chmodSync(directory, 0o700);
  process.seteuid?.(65_534);
  try {
    assert.throws(
      () => folderState(folder),
      (error) =>
        error instanceof SetupError &&
        error.reason === 'failed' &&
        error.message.startsWith(`${directory}: the folder of devices cannot be entered (EACCES`),
    );
  } finally {
    process.seteuid?.(0);
  }
});

test("a device that is another user's is not called dead, and nothing of it is removed", (t) => {
  if (process.getuid?.() !== 0) {
    t.skip('only root can be somebody else');
    return;
  }
  const folder = deviceFolder(directory, 'disk');
  claimFolder(directory, folder, self);
  chmodSync(directory, 0o777);
  process.seteuid?.(65_534);
  try {
    const anothers = (error: unknown): boolean =>
      error instanceof SetupError && error.reason === 'failed' && /another user's/.test(error.message);
    assert.throws(() => folderState(folder), anothers);
    assert.throws(() => listDevices(directory), anothers);
    assert.throws(() => removeDeadFolder(directory, folder), anothers);
  } finally {
    process.seteuid?.(0);
  }
  assert.equal(folderState(folder).state, 'live');
});

test('a note about a socket elsewhere that cannot be followed keeps no name from being used again', () => {
  const longName = 'x'.repeat(5_000);
  for (const note of ['1 /a\0b', `1 /${longName}`, `1 ${join(directory, 'file', 'below')}`, '1 ', 'x']) {
    writeFileSync(join(directory, 'file'), '');
    makeDead('disk');
    const folder = deviceFolder(directory, 'disk');
    writeFileSync(folder.elsewherePath, note);
    assert.equal(removeDeadFolder(directory, folder), true, note);
    assert.deepEqual(readdirSync(directory), ['file']);
  }
});
