import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { Errno } from '../../src/block/errno.ts';
import { threadPoolWanted } from '../../src/io/thread-pool.ts';
import { systemCallNumber } from '../../src/linux/uring-numbers.ts';
import { DeviceLab, pattern } from './device-lab.ts';

const mib = 1_048_576;
const denySystemCall = new URL('../fixtures/deny-system-call.js', import.meta.url).href;

/** Without what this run asks for; and with a filter as container runtimes have. */
class EngineLab extends DeviceLab {
  variables: NodeJS.ProcessEnv = {};

  override environment(): NodeJS.ProcessEnv {
    const { DM_REMAP_IO: _, UV_THREADPOOL_SIZE: __, ...others } = super.environment();
    return { ...others, ...this.variables };
  }

  deny(call: keyof typeof systemCallNumber, errno: number): void {
    const options = `${process.env['NODE_OPTIONS'] ?? ''} --import=${denySystemCall}`;
    this.variables = { NODE_OPTIONS: options, DENY_SYSTEM_CALL: `${systemCallNumber[call]}=${errno}` };
  }

  create(...words: readonly string[]): Promise<string> {
    const main = this.image('main.img', 64 * mib);
    return this.mustRun(
      ...['create', 'disk', '--main', main, '--spare', this.path('spare.img'), '--create-spare', '32M'],
      ...words,
    );
  }

  async engine(): Promise<{ engine: string; reason: string }> {
    const status: unknown = JSON.parse(await this.mustRun('status', 'disk', '--json'));
    assert.ok(typeof status === 'object' && status !== null);
    assert.ok('engine' in status && typeof status.engine === 'string');
    assert.ok('engineReason' in status && typeof status.engineReason === 'string');
    return { engine: status.engine, reason: status.engineReason };
  }

  /** Bytes go there and come back. */
  async proveService(): Promise<void> {
    const client = await this.connect('disk');
    const bytes = pattern(0, mib, 1);
    await client.write(bytes, 0);
    await client.flush();
    const back = new Uint8Array(mib);
    await client.read(back, 0);
    assert.deepEqual(back, bytes);
  }
}

describe('the engine of a device', { timeout: 120_000 }, () => {
  let lab: EngineLab;

  beforeEach(() => {
    lab = new EngineLab();
  });

  afterEach(() => lab.close());

  for (const { call, errno, name, says } of [
    { call: 'ioUringSetup', errno: Errno.EPERM, name: 'EPERM', says: /forbidden to this process.*seccomp/ },
    { call: 'ioUringSetup', errno: Errno.ENOSYS, name: 'ENOSYS', says: /not in this kernel/ },
    { call: 'ioUringSetup', errno: Errno.ENOMEM, name: 'ENOMEM', says: /no memory.*ulimit -l/ },
    { call: 'ioUringEnter', errno: Errno.EPERM, name: 'EPERM', says: /forbidden to this process/ },
    { call: 'ioUringRegister', errno: Errno.EPERM, name: 'EPERM', says: /forbidden to this process/ },
  ] as const) {
    it(`is libuv by itself where ${call} is answered with ${name}; status, log and notes say why`, async () => {
      lab.deny(call, errno);
      const created = await lab.create();
      assert.match(created, says);
      const { engine, reason } = await lab.engine();
      assert.equal(engine, 'node');
      assert.match(reason, says);
      const status = await lab.mustRun('status', 'disk');
      assert.match(status, /process .* node, /);
      assert.match(status, says);
      const log = readFileSync(join(lab.runtime, 'disk', 'daemon.log'), 'utf8');
      const line = log.split('\n').find((one) => one.includes('"serving"')) ?? '';
      assert.match(line, /"engine":"node"/);
      assert.match(line, says);
      await lab.proveService();
      await lab.mustRun('remove', 'disk', '--force');
    });
  }

  it('is io_uring by itself where the kernel allows it', async () => {
    await lab.create();
    assert.deepEqual(await lab.engine(), { engine: 'io_uring', reason: '' });
    await lab.proveService();
    await lab.mustRun('remove', 'disk', '--force');
  });

  it('--io=uring where it is refused fails in one line that says what helps, and serves nothing', async () => {
    await lab.create('--io', 'node');
    await lab.mustRun('remove', 'disk', '--force');
    lab.deny('ioUringSetup', Errno.EPERM);
    const words = ['assemble', '--spare', lab.path('spare.img'), '--io=uring'];
    await lab.mustFail(1, /io_uring is forbidden .*--io=node works without it/, ...words);
    assert.deepEqual(lab.leftovers(), []);
    lab.variables['DM_REMAP_IO'] = 'uring';
    await lab.mustFail(1, /io_uring is forbidden/, 'examine', lab.path('spare.img'));
  });

  it('--io goes before DM_REMAP_IO, and both are only what we know', async () => {
    lab.variables = { DM_REMAP_IO: 'uring' };
    await lab.create('--io=node');
    assert.deepEqual(await lab.engine(), { engine: 'node', reason: '' });
    await lab.mustRun('remove', 'disk', '--force');
    lab.variables = { DM_REMAP_IO: 'node' };
    await lab.mustRun('assemble', '--spare', lab.path('spare.img'));
    assert.deepEqual(await lab.engine(), { engine: 'node', reason: '' });
    await lab.mustRun('remove', 'disk', '--force');
    const spare = lab.path('spare.img');
    await lab.mustFail(2, /--io ring: expected uring or node/, 'assemble', '--spare', spare, '--io', 'ring');
    lab.variables = { DM_REMAP_IO: 'ring' };
    await lab.mustFail(2, /DM_REMAP_IO is "ring"; uring or node was expected/, 'examine', spare);
  });

  it('R36 libuv has the threads that hung disks need, in the background and in the foreground', async () => {
    const poolThreads = (): number => {
      const { pid } = lab.identity('disk');
      return readdirSync(`/proc/${pid}/task`).length;
    };
    await lab.create('--io=node');
    assert.ok(poolThreads() > threadPoolWanted, `${poolThreads()} threads`);
    await lab.mustRun('remove', 'disk', '--force');
    const serving = lab.start('serve', '--spare', lab.path('spare.img'), '--io=node');
    while (!serving.errors().includes('"serving"')) {
      assert.equal(serving.child.exitCode, null, serving.errors());
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
    assert.equal(lab.identity('disk').pid, serving.child.pid, 'it began again as the same process');
    assert.ok(poolThreads() > threadPoolWanted, `${poolThreads()} threads`);
    await lab.proveService();
    serving.child.kill('SIGTERM');
    assert.equal(await serving.ended, 0);
  });
});
