import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { open, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { mustRunTool, runTool } from '../../../end-to-end/foreign-tool.ts';
import { BlockLab, mebibyte } from '../block-lab.ts';
import { until } from '../nbd-attachment.ts';

const link = '/dev/dm-remap/disk';
const mainBytes = 96 * mebibyte;
const recordBytes = 4096;
/** One way back takes up to 5 s: the timer of the requests that were under way. */
const kills = 1;
/** Long enough for a machine that is many times slower than it is alone. */
const queueSeconds = 120;

interface Attached {
  readonly kind: string;
  readonly device: string;
  readonly queueSeconds: number;
  readonly wasAttached: boolean;
}

interface Place {
  readonly lab: BlockLab;
  readonly again: readonly string[];
  readonly mountPoint: string;
}

/** A device, attached by the nbd driver, with a file system on it that is mounted. */
async function withAttached(
  flag: string,
  work: (place: Place, attached: Attached) => Promise<string>,
): Promise<string> {
  return await BlockLab.use(async (lab) => {
    const main = await lab.loop('main.img', mainBytes);
    const spare = await lab.loop('spare.img', 32 * mebibyte);
    await lab.create(main, spare);
    const attached: Attached = JSON.parse(
      await lab.lab.mustRun('attach', 'disk', `--on-daemon-loss=${flag}`, '--json'),
    );
    assert.equal(attached.kind, 'nbd', 'nbd goes before loop');
    const mountPoint = lab.lab.path('mnt');
    mkdirSync(mountPoint);
    await mustRunTool('mkfs.ext4', '-q', link);
    await mustRunTool('mount', link, mountPoint);
    const again = ['assemble', 'disk', '--spare', spare, '--main', main];
    const seen = await work({ lab, again, mountPoint }, attached);
    assert.equal(existsSync(link), false, 'no link is left');
    await lab.lab.mustRun('remove', 'disk');
    return seen;
  });
}

/** Appends records with a sync behind each until it is told to stop or one fails. */
class SyncedWriter {
  readonly path: string;
  written = 0;
  failure = '';
  #stopped = false;

  constructor(path: string) {
    this.path = path;
  }

  stop(): void {
    this.#stopped = true;
  }

  async run(): Promise<void> {
    const handle = await open(this.path, 'w');
    try {
      while (!this.#stopped) {
        await handle.write(
          Buffer.alloc(recordBytes, this.written % 251),
          0,
          recordBytes,
          this.written * recordBytes,
        );
        await handle.sync();
        this.written += 1;
      }
    } catch (error) {
      this.failure = error instanceof Error ? error.message : String(error);
    }
    await handle.close().catch(() => undefined);
  }
}

export function attachedThatWaits(): Promise<string> {
  return withAttached(
    `queue:${queueSeconds}s`,
    async ({ lab, again, mountPoint }, { device, queueSeconds: seconds }) => {
      assert.equal(seconds, queueSeconds);
      const writer = new SyncedWriter(join(mountPoint, 'records'));
      const running = writer.run();
      let longestMs = 0;
      for (let round = 1; round <= kills; round += 1) {
        const before = writer.written;
        await until(() => writer.written > before + 5, 'the writer goes on');
        await lab.lab.kill('disk');
        const killed = writer.written;
        await sleep(500);
        assert.ok(writer.written <= killed + 1, 'nothing is acknowledged while nobody serves');
        assert.equal(writer.failure, '', 'it waits');
        const startMs = performance.now();
        await lab.lab.mustRun(...again);
        // Nobody says attach: the process that serves now takes the device over.
        await until(
          () => writer.written > killed + 5 || writer.failure !== '',
          'the requests are sent again',
        );
        longestMs = Math.max(longestMs, performance.now() - startMs);
        assert.equal(writer.failure, '');
      }
      const beforeRestart = writer.written;
      await lab.lab.mustRun('restart', 'disk');
      await until(
        () => writer.written > beforeRestart + 5 || writer.failure !== '',
        'a restart is a pause: the writer goes on',
      );
      writer.stop();
      await running;
      assert.equal(writer.failure, '');
      await lab.lab.mustFail(
        5,
        new RegExp(`${device} is in use: mounted on ${mountPoint}`),
        'detach',
        'disk',
      );
      await mustRunTool('umount', mountPoint);
      await mustRunTool('mount', link, mountPoint);
      const bytes = await readFile(writer.path);
      assert.equal(bytes.length, writer.written * recordBytes);
      for (let record = 0; record < writer.written; record += 1) {
        assert.equal(bytes[record * recordBytes], record % 251, `record ${record}`);
      }
      await mustRunTool('umount', mountPoint);
      await mustRunTool('e2fsck', '-f', '-n', link);
      await lab.lab.mustRun('detach', 'disk');
      assert.equal(
        existsSync(`/sys/block/${device.slice('/dev/'.length)}/pid`),
        false,
        'the kernel has let go of it',
      );
      return `${kills} kill and 1 restart under ext4 on ${device}: ${writer.written} synced records, all there, none refused; the longest way back ${Math.round(longestMs)} ms`;
    },
  );
}

export function attachedThatFails(): Promise<string> {
  return withAttached('queue:2s', async ({ lab, again, mountPoint }, { device }) => {
    const name = device.slice('/dev/'.length);
    assert.equal(readFileSync(`/sys/block/${name}/queue/logical_block_size`, 'latin1').trim(), '512');
    const writer = new SyncedWriter(join(mountPoint, 'records'));
    const running = writer.run();
    await until(() => writer.written > 5, 'the writer goes');
    await lab.lab.kill('disk');
    await lab.lab.mustFail(5, new RegExp(`${device} is in use: mounted on ${mountPoint}`), 'remove', 'disk');
    await lab.lab.mustRun('remove', 'disk', '--force');
    await running;
    assert.match(writer.failure, /EIO|EROFS/);
    assert.equal(existsSync(link), false, 'the link is gone');
    await mustRunTool('umount', mountPoint);
    await lab.lab.mustRun(...again);
    await lab.lab.mustFail(
      1,
      /cannot fail what is under way/,
      'attach',
      'disk',
      '--driver=nbd',
      '--on-daemon-loss=fail',
    );
    await lab.lab.mustRun('attach', 'disk');
    await mustRunTool('mount', link, mountPoint);
    const bytes = await readFile(writer.path);
    assert.ok(bytes.length >= writer.written * recordBytes, 'what was synced is there');
    await mustRunTool('umount', mountPoint);
    const readOnly = await readOnlyOnce(lab);
    return `EIO behind remove --force, ${writer.written} synced records there; ${readOnly}`;
  });
}

async function readOnlyOnce({ lab }: BlockLab): Promise<string> {
  await lab.mustRun('detach', 'disk');
  const { device }: Attached = JSON.parse(await lab.mustRun('attach', 'disk', '--read-only', '--json'));
  assert.equal(readFileSync(`/sys/block/${device.slice('/dev/'.length)}/ro`, 'latin1').trim(), '1');
  const { status } = await runTool(
    'dd',
    'if=/dev/zero',
    `of=${device}`,
    'bs=4096',
    'count=1',
    'oflag=direct',
    'conv=nocreat',
  );
  assert.notEqual(status, 0, 'a read-only device takes no write');
  await lab.mustRun('detach', 'disk');
  return 'read-only takes no write';
}
