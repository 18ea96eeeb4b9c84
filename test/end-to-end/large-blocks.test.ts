import assert from 'node:assert/strict';
import { execFileSync, spawnSync } from 'node:child_process';
import process from 'node:process';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { exportUri } from './bad-disk.ts';
import { DeviceLab } from './device-lab.ts';
import { mustRunTool } from './foreign-tool.ts';
import { assertNothingLeftOver } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;

/** libnbd, told not to ask for block sizes: it then sends what its user sends, as the kernel's client does. */
const script = `
import nbd, sys
h = nbd.NBD()
h.set_request_block_size(False)
h.connect_uri(sys.argv[1])
assert h.get_block_size(nbd.SIZE_MINIMUM) in (0, 512), h.get_block_size(nbd.SIZE_MINIMUM)
size = 65536
model = bytearray(bytes([7]) * size)
h.pwrite(bytes(model), 0)
for sector in range(3, 120, 7):
    part = bytes([sector]) * (5 * 512)
    model[sector * 512 : sector * 512 + len(part)] = part
    h.pwrite(part, sector * 512, nbd.CMD_FLAG_FUA if sector % 2 else 0)
assert h.pread(size - 1024, 512) == bytes(model[512:-512])
h.flush()
h.shutdown()
h = nbd.NBD()
h.connect_uri(sys.argv[1])
assert h.get_block_size(nbd.SIZE_MINIMUM) == 4096
assert h.pread(size, 0) == bytes(model)
h.shutdown()
`;

const hasLoops = spawnSync('losetup', ['-f']).status === 0 && process.getuid?.() === 0;
const hasClient = spawnSync('/usr/bin/python3', ['-c', 'import nbd']).status === 0;
const skip = !hasLoops
  ? 'needs root and loop devices'
  : hasClient
    ? false
    : 'missing tool: python3 with libnbd';

describe('disks with logical blocks of 4096 bytes', { skip, timeout: 60_000 }, () => {
  let lab: DeviceLab;
  let loops: string[];

  function attach(name: string, sizeBytes: number, blockBytes: number): string {
    const options = [
      '-f',
      '--show',
      '--direct-io=on',
      '-b',
      String(blockBytes),
      lab.image(`${name}.img`, sizeBytes),
    ];
    const loop = execFileSync('losetup', options, { encoding: 'utf8' }).trim();
    loops.push(loop);
    return loop;
  }

  beforeEach(() => {
    lab = new DeviceLab();
    loops = [];
  });

  afterEach(async () => {
    await lab.run('remove', 'disk');
    const leftovers = lab.leftovers();
    for (const name of leftovers) await lab.kill(name).catch(() => undefined);
    for (const loop of loops) execFileSync('losetup', ['-d', loop]);
    assert.deepEqual(leftovers, []);
    assertNothingLeftOver(lab.folder);
    await lab.close();
  });

  it('R11 serve a client that never asked for block sizes, sector by sector, in slots too', async () => {
    const disks = [
      '--main',
      attach('main', 64 * mebibyte, 4096),
      '--spare',
      attach('spare', 40 * mebibyte, 4096),
    ];
    await lab.mustRun('create', 'disk', ...disks);
    await lab.mustRun('message', 'disk', '0', 'remap', '0', '64');
    await mustRunTool('/usr/bin/python3', '-c', script, exportUri(lab, 'disk'));
  });

  it('R9 such a spare serves a main with blocks of 512 bytes', async () => {
    const disks = [
      '--main',
      attach('main', 64 * mebibyte, 512),
      '--spare',
      attach('spare', 40 * mebibyte, 4096),
    ];
    await lab.mustRun('create', 'disk', ...disks);
    await lab.mustRun('message', 'disk', '0', 'remap', '0', '64');
    await mustRunTool('/usr/bin/python3', '-c', script.replace('== 4096', '== 512'), exportUri(lab, 'disk'));
    await lab.kill('disk');
    await lab.mustRun('assemble', ...disks);
    assert.match(await lab.mustRun('status', 'disk'), /8 granules/);
  });
});
