import assert from 'node:assert/strict';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { DeviceLab } from './device-lab.ts';
import { missingTool, mustRunTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 64 * mebibyte;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
  lab.image('spare.img', 32 * mebibyte);
});

afterEach(() => endLab(lab));

async function createOverBadSectors(...flags: readonly string[]): Promise<readonly string[]> {
  const table = lab.faultTable('main.table', lab.image('main.img', mainBytes), mainBytes, [[1000, 2]]);
  const created = await lab.mustRun(
    ...['create', 'disk', '--main-table', table, '--spare', 'spare.img', '--json'],
    ...flags,
  );
  const { exports }: { exports: string[] } = JSON.parse(created);
  return exports;
}

function uriOf(name: string): string {
  return `nbd+unix:///${name}?socket=${join(lab.runtime, 'disk', 'nbd.sock')}`;
}

async function listedNames(): Promise<readonly string[]> {
  const listed = await mustRunTool('nbdinfo', '--json', '--list', uriOf(''));
  const { exports }: { exports: { 'export-name': string }[] } = JSON.parse(listed);
  return exports.map((one) => one['export-name']);
}

test('R29 main itself is exported beside the device, read-only: what was moved is EIO there, the rest is main’s', {
  skip: missingTool('nbdsh', 'nbdinfo'),
}, async () => {
  const exports = await createOverBadSectors();
  assert.deepEqual(exports, [uriOf('disk'), uriOf('disk/main')]);
  assert.deepEqual(await listedNames(), ['disk', 'disk/main']);
  const script = [
    'import errno',
    'def expect(number, call):',
    '    try:',
    '        call()',
    '    except nbd.Error as error:',
    '        assert error.errnum == number, error',
    '        return',
    '    assert False, "no error"',
    'raw = nbd.NBD()',
    `raw.connect_uri(${JSON.stringify(uriOf('disk/main'))})`,
    'assert raw.is_read_only() and not h.is_read_only()',
    'assert raw.get_size() == h.get_size()',
    // A whole granule: two of its eight sectors are bad, main has old bytes in the six others.
    'h.pwrite(b"n" * 4096, 1000 * 512)',
    'h.pwrite(b"m" * 4096, 1008 * 512)',
    'for sector in range(1000, 1008):',
    '    expect(errno.EIO, lambda: raw.pread(512, sector * 512))',
    'expect(errno.EIO, lambda: raw.pread(65536, 992 * 512))',
    'assert h.pread(4096, 1000 * 512) == b"n" * 4096',
    'assert raw.pread(4096, 1008 * 512) == b"m" * 4096',
    'raw.set_strict_mode(0)',
    'expect(errno.EPERM, lambda: raw.pwrite(b"x" * 512, 0))',
    'assert h.pread(512, 0) == bytes(512)',
    'raw.shutdown()',
    'h.shutdown()',
  ];
  await mustRunTool('nbdsh', '-u', uriOf('disk'), '-c', script.join('\n'));
  const status: { exports: string[] } = JSON.parse(await lab.mustRun('status', 'disk', '--json'));
  assert.deepEqual(status.exports, exports);
  await lab.mustRun('remove', 'disk');
});

test('R29 --no-export-main keeps main to the device', { skip: missingTool('nbdinfo') }, async () => {
  assert.deepEqual(await createOverBadSectors('--no-export-main'), [uriOf('disk')]);
  assert.deepEqual(await listedNames(), ['disk']);
  await lab.mustRun('remove', 'disk');
  const again = async (...words: string[]): Promise<string[]> => {
    const assemble = ['assemble', '--spare', 'spare.img', '--main-table', 'main.table', '--json', ...words];
    const { exports }: { exports: string[] } = JSON.parse(await lab.mustRun(...assemble));
    await lab.mustRun('remove', 'disk');
    return exports;
  };
  assert.deepEqual(await again(), [uriOf('disk')], 'the spare remembers it');
  assert.deepEqual(await again('--export-main', 'on'), [uriOf('disk'), uriOf('disk/main')]);
  assert.deepEqual(await again(), [uriOf('disk'), uriOf('disk/main')], 'and that, too');
});

for (const way of ['SIGTERM', 'remove --force'] as const) {
  test(`${way} answers clients that are connected ESHUTDOWN before it ends their connections`, {
    skip: missingTool('nbdsh'),
  }, async () => {
    await createOverBadSectors();
    const script = [
      'import errno, time, sys',
      'h.pwrite(b"a" * 4096, 0)',
      'print("connected", flush=True)',
      'replies = []',
      'while True:',
      '    try:',
      '        h.pread(512, 0)',
      '        replies.append(0)',
      '    except nbd.Error as error:',
      '        replies.append(error.errnum)',
      '        if error.errnum != errno.ESHUTDOWN or not h.aio_is_ready(): break',
      '        if len(replies) > 100000: break',
      '    time.sleep(0.01)',
      'assert errno.ESHUTDOWN in replies, replies[-3:]',
      // Once it shuts down, nothing succeeds any more.
      'assert 0 not in replies[replies.index(errno.ESHUTDOWN):]',
    ];
    const asking = mustRunTool('nbdsh', '-u', uriOf('disk'), '-c', script.join('\n'));
    const pid = await pidOnceConnected();
    if (way === 'SIGTERM') process.kill(pid);
    else await lab.mustRun('remove', 'disk', '--force');
    await asking;
  });
}

/** The device's process, when a client is connected and had time for some requests. */
async function pidOnceConnected(): Promise<number> {
  for (let looks = 0; looks < 200; looks += 1) {
    const status: { connections: number; pid: number } = JSON.parse(
      await lab.mustRun('status', 'disk', '--json'),
    );
    if (status.connections > 0) return status.pid;
  }
  assert.fail('nobody connected');
}
