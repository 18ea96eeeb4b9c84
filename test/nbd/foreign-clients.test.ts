import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { createDataPlane } from '../../src/io/data-plane.ts';
import { connectNbd } from '../../src/nbd/client.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import { FailingDevice, HeldDevice } from './controlled-devices.ts';

const mebibyte = 1024 * 1024;
const toolTimeoutMs = 30_000;

/** The system's programs first: nbdsh takes the first python3, and only the system's one has its module. */
const toolEnvironment = { ...process.env, PATH: `/usr/bin:/bin:/usr/sbin:${process.env['PATH'] ?? ''}` };

interface Served {
  readonly server: NbdServer;
  /** The default export, on the Unix socket. */
  readonly uri: string;
  readonly socketPath: string;
  readonly tcpAddress: string;
  readonly directory: string;
  readonly notes: readonly string[];
}

/** A real server on real sockets, for `body`; proves that nothing of it is left. */
async function withRealServer(device: BlockDevice, body: (served: Served) => Promise<void>): Promise<void> {
  const directory = await mkdtemp(join(tmpdir(), 'dm-remap-nbd-'));
  const plane = createDataPlane({ arenaBytes: 80 * mebibyte });
  const notes: string[] = [];
  const { arena, clock } = plane;
  const server = new NbdServer({
    exports: [{ name: device.name, device }],
    arena,
    clock,
    onProtocolError: (message) => notes.push(message),
  });
  try {
    const socketPath = join(directory, 'nbd.sock');
    const tcp = plane.listenTcp('127.0.0.1', 0);
    server.listen(plane.listenUnix(socketPath));
    server.listen(tcp);
    const uri = `nbd+unix:///?socket=${socketPath}`;
    await body({ server, uri, socketPath, tcpAddress: tcp.address, directory, notes });
    assert.equal(await server.close(5_000), 0, 'no request is left at the device');
    assert.equal(arena.usedBytes, 0, 'the arena is empty');
  } finally {
    await server.close(0);
    await plane.close();
    await rm(directory, { recursive: true, force: true });
  }
}

interface ToolResult {
  readonly status: number | null;
  readonly output: string;
}

/** Runs a tool beside the server in this process; its output, standard error included. */
function run(tool: string, args: readonly string[], directory?: string): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const child = spawn(tool, args, {
      timeout: toolTimeoutMs,
      env: toolEnvironment,
      ...(directory === undefined ? {} : { cwd: directory }),
    });
    let output = '';
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.stderr.on('data', (chunk: Buffer) => {
      output += chunk.toString();
    });
    child.on('error', reject);
    child.on('close', (status) => resolve({ status, output }));
  });
}

async function succeed(tool: string, args: readonly string[], directory?: string): Promise<string> {
  const { status, output } = await run(tool, args, directory);
  assert.equal(status, 0, `${tool} ${args.join(' ')}\n${output}`);
  return output;
}

function isInstalled(tool: string): boolean {
  return spawnSync(tool, ['--version'], { timeout: toolTimeoutMs, env: toolEnvironment }).status === 0;
}

/** A test that needs a tool: skipped where it is missing, but failed there when CI says that nothing may be missing. */
function testWith(tool: string, name: string, body: () => Promise<void>): void {
  const installed = isInstalled(tool);
  const skip = !installed && process.env['CI'] === undefined ? `${tool} is not installed` : false;
  test(`${tool}: ${name}`, { skip }, async () => {
    assert.ok(installed, `${tool} is not installed, and CI wants every test to run`);
    await body();
  });
}

function disk(sizeBytes: number): MemoryDevice {
  return new MemoryDevice({ name: 'disk', sizeBytes });
}

testWith('nbdinfo', 'shows the export, its flags and block sizes, over Unix and TCP', async () => {
  await withRealServer(disk(8 * mebibyte), async ({ uri, tcpAddress }) => {
    for (const address of [uri, `nbd://${tcpAddress}/disk`]) {
      const shown = await succeed('nbdinfo', [address]);
      for (const line of [
        'newstyle-fixed',
        'export-size: 8388608',
        'is_read_only: false',
        'can_flush: true',
        'can_fua: true',
        'can_multi_conn: true',
        'can_trim: true',
        'can_zero: true',
        'can_fast_zero: true',
        'can_cache: true',
        'can_df: true',
        'base:allocation',
        'dm-remap:state',
        'block_size_minimum: 512',
        'block_size_preferred: 4096',
        'block_size_maximum: 33554432',
      ]) {
        assert.ok(shown.includes(line), `${line} in\n${shown}`);
      }
    }
    assert.match(await succeed('nbdinfo', ['--list', uri]), /export="disk"/);
  });
});

testWith('nbdinfo', 'is told which export there is', async () => {
  await withRealServer(disk(mebibyte), async ({ socketPath }) => {
    const { status, output } = await run('nbdinfo', [`nbd+unix:///other?socket=${socketPath}`]);
    assert.equal(status, 1);
    assert.match(output, /No such file or directory for export: other/);
  });
});

testWith('nbdcopy', 'copies a disk in and out, on several connections', async () => {
  const device = disk(64 * mebibyte + 512);
  await withRealServer(device, async ({ server, uri, directory }) => {
    const contents = randomBytes(device.geometry.sizeBytes);
    await writeFile(join(directory, 'in.img'), contents);
    await succeed('nbdcopy', ['--flush', 'in.img', uri], directory);
    assert.ok(contents.equals(device.bytes));
    assert.ok(server.counters[NbdCounter.connections]! > 1, 'multi-conn was used');
    await succeed('nbdcopy', [uri, 'out.img'], directory);
    assert.ok(contents.equals(await readFile(join(directory, 'out.img'))));
    assert.equal(server.counters[NbdCounter.errors], 0);
  });
});

testWith('qemu-img', 'compares, converts and describes the disk', async () => {
  const device = disk(16 * mebibyte);
  device.bytes.set(randomBytes(4 * mebibyte), 3 * mebibyte);
  await withRealServer(device, async ({ uri, directory }) => {
    assert.match(await succeed('qemu-img', ['info', '--output=json', uri]), /"virtual-size": 16777216/);
    await writeFile(join(directory, 'same.img'), device.bytes);
    await succeed('qemu-img', ['compare', '-f', 'raw', '-F', 'raw', join(directory, 'same.img'), uri]);
    const other = Buffer.from(device.bytes);
    other[15 * mebibyte]! ^= 1;
    await writeFile(join(directory, 'other.img'), other);
    const { status } = await run('qemu-img', [
      'compare',
      '-f',
      'raw',
      '-F',
      'raw',
      join(directory, 'other.img'),
      uri,
    ]);
    assert.equal(status, 1, 'one changed bit is seen');
    await succeed('qemu-img', ['convert', '-n', '-f', 'raw', '-O', 'raw', join(directory, 'other.img'), uri]);
    assert.ok(other.equals(device.bytes));
  });
});

testWith('qemu-io', 'writes patterns, flushes, and reads them back', async () => {
  const device = disk(16 * mebibyte);
  await withRealServer(device, async ({ server, uri }) => {
    const commands = [
      'write -P 0x5a 1M 3M',
      'write -f -P 0x01 512 1024',
      'flush',
      'read -P 0x5a 1M 3M',
      'read -P 0x01 512 1024',
      'read -P 0x00 4M 4M',
    ];
    const shown = await succeed('qemu-io', [
      '-f',
      'raw',
      ...commands.flatMap((command) => ['-c', command]),
      uri,
    ]);
    assert.doesNotMatch(shown, /fail|error/i);
    assert.equal(device.bytes[512], 1);
    assert.equal(device.bytes[4 * mebibyte - 1], 0x5a);
    assert.ok(server.counters[NbdCounter.flushes]! > 0);
  });
});

testWith('nbdsh', 'FUA, flush and several connections reach the device', async () => {
  const held = new HeldDevice(disk(mebibyte));
  held.releaseAll();
  await withRealServer(held, async ({ uri }) => {
    const script = [
      'import os',
      'other = nbd.NBD()',
      `other.connect_uri(${JSON.stringify(uri)})`,
      'data = os.urandom(4096)',
      'h.pwrite(data, 8192, nbd.CMD_FLAG_FUA)',
      'other.flush()',
      'assert other.pread(4096, 8192) == data',
      'assert h.can_multi_conn()',
      'other.shutdown()',
      'h.shutdown()',
    ];
    await succeed('nbdsh', ['-u', uri, '-c', script.join('\n')]);
    assert.deepEqual(held.calls, ['write 8192 4096 fua', 'flush', 'read 8192 4096']);
  });
});

testWith('nbdsh', 'errors have the numbers of the specification, and the connection lives on', async () => {
  const failing = new FailingDevice(disk(mebibyte), 64 * 1024, 512);
  await withRealServer(failing, async ({ uri, notes }) => {
    const script = [
      'import errno',
      'h.set_strict_mode(0)',
      'def expect(number, call):',
      '    try:',
      '        call()',
      '    except nbd.Error as error:',
      '        assert error.errnum == number, error',
      '        return',
      '    assert False, "no error"',
      'for round in range(3):',
      '    expect(errno.EIO, lambda: h.pread(131072, 0))',
      '    expect(errno.EIO, lambda: h.pwrite(bytearray(131072), 0))',
      '    expect(errno.EIO, lambda: h.pwrite(bytearray(512), 65536))',
      '    expect(errno.EINVAL, lambda: h.pread(512, 1))',
      '    expect(errno.EINVAL, lambda: h.pwrite(bytearray(513), 0))',
      '    expect(errno.EINVAL, lambda: h.pread(1024, 1048576 - 512))',
      '    expect(errno.ENOSPC, lambda: h.pwrite(bytearray(1024), 1048576 - 512))',
      '    expect(errno.EINVAL, lambda: h.trim(1024, 1048576 - 512))',
      '    expect(errno.EINVAL, lambda: h.trim(512, 1))',
      '    expect(errno.ENOSPC, lambda: h.zero(1024, 1048576 - 512))',
      '    expect(errno.EINVAL, lambda: h.zero(513, 0))',
      '    expect(errno.EINVAL, lambda: h.cache(1024, 1048576 - 512))',
      '    expect(errno.EINVAL, lambda: h.block_status(512, 0, lambda *a: 0))',
      '    assert h.pread(512, 0) == bytearray(512)',
      'h.shutdown()',
    ];
    await succeed('nbdsh', ['-u', uri, '-c', script.join('\n')]);
    assert.equal(failing.failures, 9);
    assert.deepEqual(notes, []);
  });
});

testWith('nbdsh', 'requests of 32 MiB are served', async () => {
  const device = disk(64 * mebibyte);
  await withRealServer(device, async ({ uri }) => {
    const script = [
      'import os',
      'data = os.urandom(32 << 20)',
      'h.pwrite(data, 512)',
      'assert h.pread(32 << 20, 512) == data',
      'h.shutdown()',
    ];
    await succeed('nbdsh', ['-u', uri, '-c', script.join('\n')]);
  });
});

testWith('nbdsh', 'a client that is killed with requests in flight leaves nothing behind', async () => {
  const held = new HeldDevice(disk(16 * mebibyte));
  await withRealServer(held, async ({ server, uri }) => {
    const script = [
      'import os, signal',
      'for at in range(16):',
      '    h.aio_pread(nbd.Buffer(1 << 18), at << 18)',
      '    h.aio_pwrite(nbd.Buffer.from_bytearray(bytearray(1 << 18)), at << 18)',
      'h.poll(200)',
      'os.kill(os.getpid(), signal.SIGKILL)',
    ];
    const { status } = await run('nbdsh', ['-u', uri, '-c', script.join('\n')]);
    assert.equal(status, null, 'killed');
    assert.ok(held.inFlight > 0, 'requests were in flight');
    held.releaseAll();
    for (let count = 0; count < 200 && server.counters[NbdCounter.connectionsOpen]! > 0; count += 1) {
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    assert.equal(server.counters[NbdCounter.connectionsOpen], 0);
    assert.equal(held.inFlight, 0);
  });
});

testWith(
  'nbd-client',
  'lists the export and agrees on its size; attaching needs a kernel device, which no test has',
  async () => {
    await withRealServer(disk(8 * mebibyte), async ({ server, socketPath, directory, notes }) => {
      assert.match(await succeed('nbd-client', ['-l', '-unix', socketPath]), /^disk$/m);
      const noDevice = join(directory, 'no-device');
      await writeFile(noDevice, '');
      const { output } = await run('nbd-client', ['-nonetlink', '-unix', socketPath, noDevice, '-N', 'disk']);
      assert.match(output, /size = 8MB/);
      assert.deepEqual(notes, []);
      assert.equal(server.counters[NbdCounter.connections], 2);
    });
  },
);

testWith('fio', 'writes at random with 32 in flight and verifies every block', async () => {
  await withRealServer(disk(32 * mebibyte), async ({ server, uri, directory }) => {
    const shown = await succeed(
      'fio',
      [
        '--name=verify',
        '--ioengine=nbd',
        `--uri=${uri}`,
        '--rw=randwrite',
        '--bsrange=512-64k',
        '--blockalign=512',
        '--size=32m',
        '--iodepth=32',
        '--verify=crc32c',
        '--verify_fatal=1',
      ],
      directory,
    );
    assert.match(shown, /err= 0/);
    assert.ok(server.counters[NbdCounter.bytesWritten]! >= 32 * mebibyte);
    assert.ok(server.counters[NbdCounter.bytesRead]! >= 32 * mebibyte);
    assert.equal(server.counters[NbdCounter.errors], 0);
  });
});

test('our own client writes and reads over Unix and TCP sockets', async () => {
  const device = disk(mebibyte);
  const plane = createDataPlane({ arenaBytes: 16 * mebibyte });
  try {
    await withRealServer(device, async ({ socketPath, tcpAddress }) => {
      const [host, port] = tcpAddress.split(':');
      const unix = await connectNbd(await plane.connectUnix(socketPath), 'disk');
      const tcp = await connectNbd(await plane.connectTcp(host!, Number(port)), '');
      const written = randomBytes(256 * 1024);
      await unix.write(written, 4096, { fua: true });
      const target = new Uint8Array(written.length);
      await tcp.read(target, 4096);
      await tcp.flush();
      assert.ok(written.equals(target));
      await Promise.all([unix.disconnect(), tcp.disconnect()]);
    });
  } finally {
    await plane.close();
  }
});
