import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { ControlClient } from '../../src/control/client.ts';
import { type BadRun, badGranules, exportUri, remapCount, remappedGranules } from './bad-disk.ts';
import { DeviceLab, fileHash } from './device-lab.ts';
import { missingTool, mustRunTool, runTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 100 * mebibyte;
const sectorBytes = 512;
const bad: readonly BadRun[] = [
  [0, 1],
  [2, 1],
  [1000, 2],
  [50_000, 2],
  [100_000, 100],
];

let lab: DeviceLab;
let uri: string;

beforeEach(async () => {
  lab = new DeviceLab();
  const table = lab.faultTable('main.table', lab.image('main.img', mainBytes), mainBytes, bad);
  lab.image('spare.img', 32 * mebibyte);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img');
  uri = exportUri(lab, 'disk');
});

afterEach(() => endLab(lab));

interface ListedExport {
  readonly 'export-name': string;
  readonly 'export-size': number;
  readonly [capability: `can_${string}`]: boolean;
  readonly is_read_only: boolean;
  readonly block_size_minimum: number;
  readonly block_size_preferred: number;
}

async function exportsListed(...words: readonly string[]): Promise<readonly ListedExport[]> {
  const output = await mustRunTool('nbdinfo', '--json', ...words);
  const listed: { protocol: string; exports: ListedExport[] } = JSON.parse(output);
  assert.equal(listed.protocol, 'newstyle-fixed');
  return listed.exports;
}

test('nbdinfo lists the device with its size, its block sizes and what it can do', {
  skip: missingTool('nbdinfo'),
}, async () => {
  const socket = join(lab.runtime, 'disk', 'nbd.sock');
  const listed = await exportsListed('--list', `nbd+unix:///?socket=${socket}`);
  const [own] = await exportsListed(uri);
  // By the empty name too: what a client asks for that was told of no name.
  const [unnamed] = await exportsListed(`nbd+unix:///?socket=${socket}`);
  for (const found of [listed.find((one) => one['export-name'] === 'disk'), own, unnamed]) {
    assert.ok(found !== undefined, 'the device is listed by its name');
    assert.equal(found['export-size'], mainBytes);
    assert.equal(found.is_read_only, false);
    assert.equal(found.block_size_minimum, sectorBytes);
    assert.equal(found.block_size_preferred, 4096);
    for (const capability of ['can_flush', 'can_fua', 'can_multi_conn'] as const) {
      assert.equal(found[capability], true, capability);
    }
  }
  assert.equal((await mustRunTool('nbdinfo', '--size', uri)).trim(), String(mainBytes));
  const refused = await runTool('nbdinfo', `nbd+unix:///other?socket=${socket}`);
  assert.notEqual(refused.status, 0, 'there is no such export');
});

/** Runs a copy, and watches how many connections the device has meanwhile. */
async function mostConnections(copy: Promise<unknown>): Promise<number> {
  const control = new ControlClient(join(lab.runtime, 'disk', 'control.sock'));
  let most = 0;
  let isCopying = true;
  const watch = (async (): Promise<void> => {
    while (isCopying) {
      most = Math.max(most, (await control.status()).connections);
      await sleep(2);
    }
  })();
  try {
    await copy;
  } finally {
    isCopying = false;
    await watch;
  }
  return most;
}

test('R22 nbdcopy over 4 connections writes a whole disk over bad sectors, and reads the same bytes back', {
  skip: missingTool('nbdcopy', 'qemu-img'),
}, async () => {
  const source = lab.path('source.img');
  writeFileSync(source, randomBytes(mainBytes));
  const words = ['--threads=4', '--connections=4', '--requests=16', '--flush'];
  assert.equal(await mostConnections(mustRunTool('nbdcopy', ...words, source, uri)), 4);
  assert.deepEqual(await remappedGranules(lab, 'disk'), badGranules(bad), 'I17: exactly the bad granules');
  assert.equal(await remapCount(lab, 'disk'), badGranules(bad).length);

  // --flush was answered: the power may go.
  await lab.kill('disk');
  await lab.mustRun('assemble', '--main-table', 'main.table', '--spare', 'spare.img');
  const copy = lab.path('copy.img');
  assert.equal(await mostConnections(mustRunTool('nbdcopy', ...words, uri, copy)), 4);
  assert.equal(await fileHash(copy), await fileHash(source));
  const compared = await mustRunTool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', copy, uri);
  assert.match(compared, /Images are identical/);
});

/** A person at the prompt: writes over bad sectors, a flush, and what a read of a lost sector says. */
const shellWords = `
import os

assert h.get_size() == ${mainBytes} and h.can_multi_conn() and h.can_fua()
data = os.urandom(64 * 512)
h.pwrite(data, 990 * 512, nbd.CMD_FLAG_FUA)
h.flush()
assert h.pread(64 * 512, 990 * 512) == data
assert h.pread(512, 1001 * 512) == data[11 * 512:12 * 512]
try:
    h.pread(4096, 0)
    raise SystemExit("sectors 0 and 2 were never written and cannot be read")
except nbd.Error as error:
    assert error.errno == "EIO", error.errno
assert h.pread(512, 512) == bytes(512)
try:
    h.set_strict_mode(0)
    h.pread(512, ${mainBytes})
    raise SystemExit("a read past the end was answered")
except nbd.Error as error:
    assert error.errno == "EINVAL", error.errno
buffers = [nbd.Buffer.from_bytearray(bytearray([at]) * 512) for at in range(20)]
waiting = {h.aio_pwrite(buffers[at], (49990 + at) * 512) for at in range(20)}
while waiting:
    waiting = {cookie for cookie in waiting if not h.aio_command_completed(cookie)}
    if waiting:
        h.poll(-1)
for at in range(20):
    assert h.pread(512, (49990 + at) * 512) == bytes([at]) * 512
print("all as expected")
`;

test('nbdsh writes, flushes and reads over bad sectors, and is told EIO for what nobody can read', {
  skip: missingTool('nbdsh'),
}, async () => {
  assert.match(await mustRunTool('nbdsh', '-u', uri, '-c', shellWords), /^all as expected$/m);
  assert.deepEqual(await remappedGranules(lab, 'disk'), badGranules([bad[2]!, bad[3]!]));
  assert.equal(await lab.mustRun('message', 'disk', '0', 'lost'), '0 1 unreadable\n2 1 unreadable\n');
});

/** Writes of sectors anywhere over 990 to 1053, compared with what they should make of them. */
const unalignedWords = `
import random

h.set_request_block_size(False)
h.set_strict_mode(0)
h.connect_uri(uri)
chance = random.Random(11)
first, length = 990 * 512, 64 * 512
model = bytearray(chance.randbytes(length))
h.pwrite(bytes(model), first)

def expect(errno, write):
    try:
        write()
        raise SystemExit("this must be " + errno)
    except nbd.Error as error:
        assert error.errno == errno, error.errno

for turn in range(200):
    count = chance.randint(1, 20)
    at = chance.randrange(64 - count) * 512
    data = chance.randbytes(count * 512)
    h.pwrite(data, first + at, nbd.CMD_FLAG_FUA if turn % 7 == 0 else 0)
    model[at:at + len(data)] = data
    expect("EINVAL", lambda: h.pwrite(data[:chance.choice([1, 100, 511])], first + at))
    expect("EINVAL", lambda: h.pwrite(data[:512], first + at + chance.randint(1, 511)))
    assert h.pread(length, first) == model, turn
print("all as expected")
`;

test('R11 a client that asks for no block sizes writes any sectors, and less than one is EINVAL and changes nothing', {
  skip: missingTool('nbdsh'),
}, async () => {
  const words = ['-c', `uri = '${uri}'`, '-c', unalignedWords];
  assert.match(await mustRunTool('nbdsh', ...words), /^all as expected$/m);
  assert.deepEqual(await remappedGranules(lab, 'disk'), badGranules([bad[2]!]));
});

test('R29 nbdinfo --map tells holes from data, and calls what was moved and what is lost neither hole nor zero', {
  skip: missingTool('nbdinfo', 'qemu-io'),
}, async () => {
  const commands = [
    `write -P 1 ${1000 * sectorBytes} 4096`,
    `write -P 2 ${40 * mebibyte} ${mebibyte}`,
    `read ${50_000 * sectorBytes} 512`,
  ];
  await runTool('qemu-io', '-f', 'raw', ...commands.flatMap((command) => ['-c', command]), uri);
  const map: { offset: number; length: number; type: number }[] = JSON.parse(
    await mustRunTool('nbdinfo', '--map', '--json', uri),
  );
  let end = 0;
  for (const { offset, length } of map) {
    assert.equal(offset, end);
    end += length;
  }
  assert.equal(end, mainBytes);
  const typesOf = (first: number, count: number): number[] =>
    map
      .filter(
        ({ offset, length }) =>
          offset < (first + count) * sectorBytes && offset + length > first * sectorBytes,
      )
      .map(({ type }) => type);
  for (const [first, count] of [
    [1000, 8],
    [81_920, 2048],
    [50_000, 2],
  ] as const) {
    assert.deepEqual([...new Set(typesOf(first, count))], [0], `data at ${first}`);
  }
  assert.ok(
    map.some(({ length, type }) => type === 3 && length > 10 * mebibyte),
    'and most of it is a hole',
  );
});

test('nbddump prints the bytes that were written over bad sectors', {
  skip: missingTool('nbddump', 'nbdcopy'),
}, async () => {
  const source = lab.path('source.img');
  const bytes = Buffer.alloc(mainBytes);
  bytes.write('sector zero', 0);
  bytes.write('sector 100007', 100_007 * sectorBytes);
  writeFileSync(source, bytes);
  // Without --allocated zeros are left out, or asked for with a command of their own.
  await mustRunTool('nbdcopy', '--allocated', source, uri);
  const dump = await mustRunTool('nbddump', uri);
  assert.match(dump, /^0+: .*\|sector zero\.{5}\|$/m);
  const address = (100_007 * sectorBytes).toString(16).padStart(10, '0');
  assert.match(dump, new RegExp(`^${address}: .*\\|sector 100007\\.{3}\\|$`, 'm'));
  assert.equal(dump.match(/\|[^|]*[a-z][^|]*\|$/gm)?.length, 2, 'and nothing else but zeros');
});
