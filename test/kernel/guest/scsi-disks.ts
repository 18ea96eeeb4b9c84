import assert from 'node:assert/strict';
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { release } from 'node:os';
import { join } from 'node:path';
import { mustRunTool } from '../../end-to-end/foreign-tool.ts';
import { until } from './nbd-attachment.ts';

const modules = [
  'lib/crc64',
  'crypto/crc64_rocksoft_generic',
  'lib/crc64-rocksoft',
  'block/t10-pi',
  'drivers/scsi/scsi_common',
  'drivers/scsi/scsi_mod',
  'drivers/scsi/sd_mod',
  'drivers/scsi/scsi_debug',
] as const;
const driver = '/sys/bus/pseudo/drivers/scsi_debug';

/** A disk of scsi_debug: with a world-wide name and a serial, in memory that is there while the disk is not. */
export class ScsiDisk {
  readonly #host: number;

  constructor(host: number) {
    this.#host = host;
  }

  /** Under the name that it has now: one that comes back while somebody holds its old name gets another. */
  get path(): string {
    const [name] = readdirSync(join(this.#unit, 'block'));
    assert.ok(name !== undefined);
    return `/dev/${name}`;
  }

  get #unit(): string {
    return `/sys/class/scsi_device/${this.#host}:0:0:0/device`;
  }

  get isThere(): boolean {
    const blocks = join(this.#unit, 'block');
    return existsSync(blocks) && readdirSync(blocks).length === 1 && existsSync(this.path);
  }

  /** As when somebody pulls it out: the kernel takes the disk away from under those who have it open. */
  pull(): void {
    writeFileSync(join(this.#unit, 'delete'), '1');
  }

  async plugIn(): Promise<void> {
    writeFileSync(`/sys/class/scsi_host/host${this.#host}/scan`, '- - -');
    await until(() => this.isThere, 'the disk does not come back');
  }

  /** As when the kernel gives up on a disk that it still has: requests end with ENODEV. */
  setOffline(isOffline: boolean): void {
    writeFileSync(join(this.#unit, 'state'), isOffline ? 'offline\n' : 'running\n');
  }
}

/** So many disks of their own memory. Once in a guest; they stay until it is turned off. */
export async function scsiDisks(count: number, mebibytes: number): Promise<readonly ScsiDisk[]> {
  const words = [`dev_size_mb=${mebibytes}`, `add_host=${count}`, 'per_host_store=1', 'delay=0'];
  for (const name of modules) {
    const path = `/usr/lib/uml/modules/${release()}/kernel/${name}.ko`;
    // Another kernel may have it built in.
    if (!existsSync(path)) continue;
    await mustRunTool('insmod', path, ...(name.endsWith('scsi_debug') ? words : []));
  }
  const hosts = readdirSync(driver)
    .filter((name) => name.startsWith('adapter'))
    .flatMap((name) => readdirSync(join('/sys/bus/pseudo/devices', name)))
    .map((name) => /^host(\d+)$/.exec(name)?.[1])
    .filter((host) => host !== undefined);
  const disks = hosts.map((host) => new ScsiDisk(Number(host)));
  assert.equal(disks.length, count, hosts.join(' '));
  for (const disk of disks) await until(() => disk.isThere, 'the disk does not come');
  assert.match(readFileSync(`/sys/class/block/${disks[0]!.path.slice(5)}/device/wwid`, 'latin1'), /naa/);
  return disks;
}
