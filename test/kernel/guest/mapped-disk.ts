import assert from 'node:assert/strict';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { BadRun } from '../../end-to-end/bad-disk.ts';
import { mustRunTool, runTool } from '../../end-to-end/foreign-tool.ts';

/** A disk of the kernel's own device-mapper. */
export class MappedDisk {
  readonly name: string;
  readonly path: string;

  private constructor(name: string) {
    this.name = name;
    this.path = `/dev/mapper/${name}`;
  }

  /** `table` as `dmsetup` takes it. */
  static async create(name: string, table: string): Promise<MappedDisk> {
    await mustRunTool('dmsetup', 'create', name, tableFile(name, table));
    const disk = new MappedDisk(name);
    assert.ok(existsSync(disk.path), `no ${disk.path}`);
    return disk;
  }

  /** Replaces the table; what is under way ends before. */
  async reload(table: string): Promise<void> {
    await mustRunTool('dmsetup', 'reload', this.name, tableFile(this.name, table));
    await this.suspend();
    await this.resume();
  }

  async suspend(): Promise<void> {
    await mustRunTool('dmsetup', 'suspend', '--nolockfs', this.name);
  }

  async resume(): Promise<void> {
    await mustRunTool('dmsetup', 'resume', this.name);
  }

  async message(...words: readonly string[]): Promise<string> {
    return (await mustRunTool('dmsetup', 'message', this.name, '0', ...words)).trim();
  }

  /** What the kernel says that its table is. */
  async table(): Promise<string> {
    return (await mustRunTool('dmsetup', 'table', this.name)).trim();
  }

  /** By the kernel's own count (Documentation/block/stat.rst); a flush is a write of no sector. */
  counts(): { readonly reads: number; readonly sectorsWritten: number } {
    const { rdev } = statSync(this.path);
    // linux/kdev_t.h; these numbers are small.
    const fields = readFileSync(`/sys/dev/block/${rdev >> 8}:${rdev & 0xff}/stat`, 'utf8')
      .trim()
      .split(/\s+/);
    return { reads: Number(fields[0]), sectorsWritten: Number(fields[6]) };
  }

  /** A disk that somebody keeps open stays, a moment after he closed it too. */
  async remove(): Promise<void> {
    await runTool('dmsetup', 'remove', '--retry', this.name);
  }
}

function tableFile(name: string, table: string): string {
  const path = join(tmpdir(), `${name}.table`);
  writeFileSync(path, table.endsWith('\n') ? table : `${table}\n`);
  return path;
}

export interface BadPart {
  readonly sector: number;
  readonly count: number;
  /** The segment's target and its words, for the sector where it begins. */
  readonly target: (sector: number) => string;
}

/** `sectorCount` sectors of `below`, but for the parts, which ascend and do not overlap. */
export function tableOver(below: string, sectorCount: number, parts: readonly BadPart[]): string {
  const lines: string[] = [];
  let at = 0;
  const good = (end: number): void => {
    if (end > at) lines.push(`${at} ${end - at} linear ${below} ${at}`);
  };
  for (const { sector, count, target } of parts) {
    good(sector);
    lines.push(`${sector} ${count} ${target(sector)}`);
    at = sector + count;
  }
  good(sectorCount);
  return lines.join('\n');
}

/** dm-error where `bad` says. */
export function errorTable(below: string, sectorCount: number, bad: readonly BadRun[]): string {
  return tableOver(
    below,
    sectorCount,
    bad.map(([sector, count]) => ({ sector, count, target: () => 'error' })),
  );
}
