import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import type { SystemRoots } from '../../src/io/system-files.ts';

/** A machine told as a tree of small files, in the shape of /sys, /proc and udev's records. */
export class MachineDescription implements SystemRoots {
  readonly root: string = mkdtempSync(join(tmpdir(), 'dm-remap-machine-'));
  readonly sysfs: string = join(this.root, 'sys');
  readonly proc: string = join(this.root, 'proc');
  readonly udevData: string = join(this.root, 'udev');
  readonly #directories = new Map<string, string>();

  /** A directory for files of the machine itself. */
  get files(): string {
    mkdirSync(join(this.root, 'files'), { recursive: true });
    return join(this.root, 'files');
  }

  write(path: string, content: string | Uint8Array): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    writeFileSync(join(this.root, path), content);
  }

  /** A block device; `attributes` are files of its directory. A partition's `name` is `disk/partition`. */
  addBlock(
    name: string,
    deviceNumber: string,
    attributes: Readonly<Record<string, string | Uint8Array>>,
  ): void {
    const directory = `sys/devices/bus/block/${name}`;
    const last = name.slice(name.lastIndexOf('/') + 1);
    this.#directories.set(last, join(this.root, directory));
    for (const [file, content] of Object.entries({ ...attributes, dev: `${deviceNumber}\n` })) {
      this.write(`${directory}/${file}`, content);
    }
    this.#link(directory, `sys/dev/block/${deviceNumber}`);
    this.#link(directory, `sys/class/block/${last}`);
    if (!name.includes('/')) this.#link(directory, `sys/block/${name}`);
  }

  /** `holder` stands on `member`: a volume on a disk. */
  addHolder(member: string, holder: string): void {
    const [below, above] = [this.#directories.get(member), this.#directories.get(holder)];
    if (below === undefined || above === undefined) throw new Error('add both devices first');
    this.#link(relative(this.root, above), join(relative(this.root, below), 'holders', holder));
    this.#link(relative(this.root, below), join(relative(this.root, above), 'slaves', member));
  }

  addUdev(deviceNumber: string, properties: Readonly<Record<string, string>>): void {
    const lines = Object.entries(properties).map(([name, value]) => `E:${name}=${value}\n`);
    this.write(`udev/b${deviceNumber}`, `S:disk/by-id/x\n${lines.join('')}`);
  }

  #link(target: string, path: string): void {
    mkdirSync(dirname(join(this.root, path)), { recursive: true });
    symlinkSync(join(this.root, target), join(this.root, path));
  }

  [Symbol.dispose](): void {
    rmSync(this.root, { recursive: true, force: true });
  }
}

/** A SATA disk of 1 TB (`sda`, 8:0) with two partitions, as Linux 6.1 describes one. */
export function addSataDisk(
  machine: MachineDescription,
  name = 'sda',
  minor = 0,
  serial = 'WD-WCC3F7',
  wwn = '0014ee2b1',
): void {
  machine.addBlock(name, `8:${minor}`, {
    size: '1953525168\n',
    'device/model': 'WDC WD10EZEX-08W\n',
    'device/vendor': 'ATA     \n',
    'device/wwid': `naa.5${wwn}\n`,
    'device/vpd_pg80': vitalPage(`     ${serial}`),
    'queue/logical_block_size': '512\n',
    'queue/physical_block_size': '4096\n',
    'queue/rotational': '1\n',
    'queue/write_cache': 'write back\n',
  });
  for (const number of [1, 2]) {
    machine.addBlock(`${name}/${name}${number}`, `8:${minor + number}`, {
      size: '2048000\n',
      start: `${2048 * number}\n`,
      partition: `${number}\n`,
      uevent: `MAJOR=8\nDEVTYPE=partition\nPARTUUID=0FC63DAF-000${number}\n`,
    });
  }
}

/** Vital product data page 0x80: header, then the serial number. */
export function vitalPage(serial: string): Uint8Array {
  return Buffer.concat([Buffer.from([0, 0x80, 0, serial.length]), Buffer.from(serial, 'latin1')]);
}
