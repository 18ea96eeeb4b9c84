import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, test } from 'node:test';
import { type BadRun, exportUri } from './bad-disk.ts';
import { DeviceLab, fileHash } from './device-lab.ts';
import { missingTool, mustRunTool, runTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 32 * mebibyte;
const sectorBytes = 512;
/** In the middle of what is read at once, two of them next to each other in one block. */
const bad: readonly BadRun[] = [
  [2000, 1],
  [2003, 1],
  [4000, 20],
  [20_000, 1],
];

let lab: DeviceLab;
let uri: string;
let contents: Buffer;

beforeEach(async () => {
  lab = new DeviceLab();
  const image = lab.image('main.img', mainBytes);
  contents = randomBytes(mainBytes);
  writeFileSync(image, contents);
  const table = lab.faultTable('main.table', image, mainBytes, bad);
  lab.image('spare.img', 24 * mebibyte);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img');
  uri = exportUri(lab, 'disk');
});

afterEach(() => endLab(lab));

function nbdsh(script: readonly string[]): Promise<string> {
  return mustRunTool('nbdsh', '-u', uri, '-c', script.join('\n'));
}

/** Everything outside the bad sectors. */
function isBad(sector: number): boolean {
  return bad.some(([first, count]) => sector >= first && sector < first + count);
}

test('nbdsh: a read of 8 MiB over lost sectors delivers all others, and says where each bad one begins', {
  skip: missingTool('nbdsh'),
}, async () => {
  const size = 8 * mebibyte;
  await nbdsh([
    'import errno',
    'assert h.get_structured_replies_negotiated() and h.can_df()',
    `good = bytearray(${size})`,
    'places, places_of_data = [], []',
    'def chunk(data, offset, status, error):',
    '    if status == nbd.READ_DATA:',
    '        good[offset:offset + len(data)] = data',
    '        places_of_data.append((offset, len(data)))',
    '    elif status == nbd.READ_ERROR:',
    '        assert error.value == errno.EIO, error.value',
    '        places.append(offset)',
    '    else:',
    '        assert False, status',
    '    return 0',
    'for round in range(2):',
    '    places.clear(); places_of_data.clear()',
    '    try:',
    `        h.pread_structured(${size}, 0, chunk)`,
    '        assert False, "the read succeeded"',
    '    except nbd.Error as error:',
    '        assert error.errnum == errno.EIO, error',
    `    assert places == [${bad
      .slice(0, 3)
      .map(([sector]) => sector * sectorBytes)
      .join(', ')}], places`,
    '    places_of_data.sort()',
    '    assert sum(length for _, length in places_of_data) == ' +
      `${size - (1 + 1 + 20) * sectorBytes}, places_of_data`,
    `open(${JSON.stringify(lab.path('good.bin'))}, "wb").write(good)`,
    // The connection lives, and one piece is given where it was asked for.
    'assert h.pread(4096, 0) == good[0:4096]',
    'places.clear(); places_of_data.clear()',
    'h.pread_structured(1 << 20, 4 << 20, chunk, nbd.CMD_FLAG_DF)',
    'assert places_of_data == [(4 << 20, 1 << 20)], places_of_data',
    'places_of_data.clear()',
    'try:',
    '    h.pread_structured(1 << 20, 1 << 20, chunk, nbd.CMD_FLAG_DF)',
    '    assert False, "sector 4000 is bad"',
    'except nbd.Error as error:',
    '    assert error.errnum == errno.EIO, error',
    'assert places == [4000 * 512], places',
    'assert places_of_data == [(1 << 20, 4000 * 512 - (1 << 20))], places_of_data',
    'h.shutdown()',
  ]);
  const good = readFileSync(lab.path('good.bin'));
  const expected = Buffer.from(contents.subarray(0, size));
  for (let sector = 0; sector < size / sectorBytes; sector += 1) {
    if (isBad(sector)) expected.fill(0, sector * sectorBytes, (sector + 1) * sectorBytes);
  }
  assert.ok(good.equals(expected), 'every byte outside the bad sectors, and no other');
});

test('nbdsh: without structured replies the same read fails as a whole, and the connection lives on', {
  skip: missingTool('nbdsh'),
}, async () => {
  await mustRunTool(
    'nbdsh',
    '-c',
    [
      'import errno',
      'h.set_request_structured_replies(False)',
      `h.connect_uri(${JSON.stringify(uri)})`,
      'assert not h.can_df()',
      'for round in range(2):',
      '    try:',
      '        h.pread(8 << 20, 0)',
      '        assert False',
      '    except nbd.Error as error:',
      '        assert error.errnum == errno.EIO, error',
      'h.pread(512, 0)',
      'h.shutdown()',
    ].join('\n'),
  );
});

test('qemu-io: a read over lost sectors is EIO, and the next one on the same connection is good', {
  skip: missingTool('qemu-io'),
}, async () => {
  const { status, output } = await runTool(
    'qemu-io',
    ...['-f', 'raw', '-c', 'read 0 4M', '-c', 'read 5M 1M', '-c', 'write -z 5M 1M', '-c', 'discard 6M 1M'],
    ...['-c', 'read -P 0 5M 1M', '-c', 'flush', uri],
  );
  assert.equal(status, 1, output);
  assert.match(output, /read failed: Input\/output error/);
  assert.equal(output.match(/read 1048576\/1048576 bytes/g)?.length, 2, output);
  assert.match(output, /wrote 1048576\/1048576 bytes/);
  assert.match(output, /discard 1048576\/1048576 bytes/);
});

test('nbdinfo: tells what the server can, and the state of the disk by dm-remap:state', {
  skip: missingTool('nbdinfo', 'nbdsh'),
}, async () => {
  for (const capability of ['write', 'flush', 'fua', 'multi-conn', 'trim', 'zero', 'df', 'cache']) {
    const { status, output } = await runTool('nbdinfo', '--can', capability, uri);
    assert.equal(status, 0, `${capability} ${output}`);
  }
  await nbdsh([
    'try:',
    '    h.pread(1 << 20, 2000 * 512)',
    'except nbd.Error:',
    '    pass',
    `h.pwrite(bytes(4096), ${20_000 * sectorBytes})`,
    'h.shutdown()',
  ]);
  const map: { offset: number; length: number; type: number }[] = JSON.parse(
    await mustRunTool('nbdinfo', '--map=dm-remap:state', '--json', uri),
  );
  assert.deepEqual(
    map
      .filter(({ type }) => type !== 0)
      .map(({ offset, length, type }) => [offset / sectorBytes, length / sectorBytes, type]),
    [
      [2000, 1, 2],
      [2003, 1, 2],
      [4000, 20, 2],
      [20_000, 8, 1],
    ],
  );
  assert.equal(
    map.reduce((sum, { length }) => sum + length, 0),
    mainBytes,
  );
  const totals = await mustRunTool('nbdinfo', '--map=dm-remap:state', '--totals', uri);
  assert.match(totals, /^\s*4096\s+0\.0%\s+1$/m);
  assert.match(totals, /^\s*11264\s+0\.0%\s+2$/m);
});

test('nbdsh: zeroes over bad sectors are exact, and may be longer than any payload', {
  skip: missingTool('nbdsh'),
}, async () => {
  await nbdsh([
    'import errno',
    // 30 MiB from sector 1000: more than one reply could carry, all bad sectors in it.
    'h.zero(30 << 20, 1000 * 512, nbd.CMD_FLAG_FUA)',
    'at = 1000 * 512',
    'end = at + (30 << 20)',
    'while at < end:',
    '    length = min(1 << 20, end - at)',
    '    assert h.pread(length, at) == bytes(length), at',
    '    at += length',
    'h.trim(4 << 20, 8 << 20, nbd.CMD_FLAG_FUA)',
    'h.cache(32 << 20, 0)',
    'h.set_strict_mode(0)',
    'def expect(number, call):',
    '    try:',
    '        call()',
    '    except nbd.Error as error:',
    '        assert error.errnum == number, error',
    '        return',
    '    assert False',
    `expect(errno.ENOSPC, lambda: h.zero(1024, ${mainBytes - 512}))`,
    `expect(errno.EINVAL, lambda: h.trim(1024, ${mainBytes - 512}))`,
    `expect(errno.EINVAL, lambda: h.cache(1024, ${mainBytes - 512}))`,
    // Sector 2000 is on the spare now: not fast.
    'if h.can_fast_zero():',
    '    expect(errno.ENOTSUP, lambda: h.zero(4096, 2000 * 512, nbd.CMD_FLAG_FAST_ZERO))',
    'else:',
    '    expect(errno.EINVAL, lambda: h.zero(4096, 2000 * 512, nbd.CMD_FLAG_FAST_ZERO))',
    `data = bytes(h.pread(1000 * 512, 0))`,
    `open(${JSON.stringify(lab.path('head.bin'))}, "wb").write(data)`,
    'h.shutdown()',
  ]);
  assert.ok(readFileSync(lab.path('head.bin')).equals(contents.subarray(0, 1000 * sectorBytes)));
});

/** Data, a hole and data again. */
async function sparseImage(): Promise<string> {
  const dense = lab.image('dense.img', mainBytes);
  const bytes = Buffer.alloc(mainBytes);
  randomBytes(3 * mebibyte).copy(bytes, 0);
  randomBytes(mebibyte).copy(bytes, 20 * mebibyte);
  writeFileSync(dense, bytes);
  const sparse = lab.path('sparse.img');
  await mustRunTool('cp', '--sparse=always', dense, sparse);
  return sparse;
}

test('nbdcopy: a sparse image is copied in by zeroing and out by the map, over bad sectors', {
  skip: missingTool('nbdcopy', 'qemu-img', 'cp'),
}, async () => {
  const source = await sparseImage();
  await mustRunTool('nbdcopy', '--flush', source, uri);
  const copy = lab.path('copy.img');
  await mustRunTool('nbdcopy', uri, copy);
  assert.equal(await fileHash(copy), await fileHash(source));
  assert.match(await mustRunTool('qemu-img', 'compare', '-f', 'raw', '-F', 'raw', source, uri), /identical/);
});

test('qemu-img: map tells data and zeros, and convert copies both ways', {
  skip: missingTool('qemu-img', 'cp'),
}, async () => {
  const source = await sparseImage();
  await mustRunTool('qemu-img', 'convert', '-n', '-f', 'raw', '-O', 'raw', source, uri);
  const map: { start: number; length: number; data: boolean; zero: boolean }[] = JSON.parse(
    await mustRunTool('qemu-img', 'map', '--output=json', '-f', 'raw', uri),
  );
  assert.equal(
    map.reduce((sum, { length }) => sum + length, 0),
    mainBytes,
  );
  const bytes = readFileSync(source);
  for (const { start, length, zero } of map) {
    if (zero)
      assert.ok(
        bytes.subarray(start, start + length).every((byte) => byte === 0),
        `zeros at ${start}`,
      );
  }
  const copy = lab.path('copy.img');
  await mustRunTool('qemu-img', 'convert', '-f', 'raw', '-O', 'raw', uri, copy);
  assert.equal(await fileHash(copy), await fileHash(source));
});

test('fio: trims and writes by turns with 16 in flight, and reads back what it wrote', {
  skip: missingTool('fio'),
}, async () => {
  const { status, output } = await runTool(
    'fio',
    ...['--name=trim', '--ioengine=nbd', `--uri=${uri}`, '--rw=trimwrite', '--bs=4k', '--size=16m'],
    ...['--iodepth=16', '--output-format=json'],
  );
  assert.equal(status, 0, output);
  const { jobs }: { jobs: { trim: { io_kbytes: number }; write: { io_kbytes: number }; error: number }[] } =
    JSON.parse(output.slice(output.indexOf('{')));
  const [job] = jobs;
  assert.equal(job?.error, 0);
  assert.ok((job?.trim.io_kbytes ?? 0) > 0 && (job?.write.io_kbytes ?? 0) > 0, output);
  const verified = await runTool(
    'fio',
    ...['--name=verify', '--ioengine=nbd', `--uri=${uri}`, '--rw=randwrite', '--bs=4k', '--size=16m'],
    ...['--iodepth=16', '--verify=crc32c', '--verify_fatal=1', '--verify_state_save=0'],
  );
  assert.equal(verified.status, 0, verified.output);
});
