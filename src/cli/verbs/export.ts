import { statSync } from 'node:fs';
import { isAbsolute } from 'node:path';
import { SetupError } from '../../device/setup-error.ts';
import { tableOfDevice, tableOfSpare } from '../bad-sectors/device-table.ts';
import { blockSize } from '../bad-sectors/list-flags.ts';
import type { ListOf, SectorTable } from '../bad-sectors/sector-table.ts';
import { badblocksList, ddrescueMapfile, dmsetupTable } from '../bad-sectors/write-formats.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { packageVersion } from '../version.ts';

export interface ExportFlags {
  readonly format?: string;
  readonly json?: boolean;
  readonly of?: string;
  readonly blockBytes: string;
  readonly spare?: string;
  readonly force?: boolean;
}

const formats = ['ddrescue', 'badblocks', 'dmsetup', 'json'] as const;
type Format = (typeof formats)[number];

/** Lines printed at a time: a list of a disk that is bad all over has millions. */
const linesPerPrint = 10_000;

/** `export NAME` or `export --spare DEVICE`: what is bad, as other programs want to know it. */
export async function runExport(
  terminal: Terminal,
  name: string | undefined,
  flags: ExportFlags,
): Promise<void> {
  const format = formatOf(flags);
  const of = listOf(flags, format);
  const blockBytes = blockSize(flags.blockBytes);
  const table = await tableOf(terminal, name, flags);
  switch (format) {
    case 'json':
      return printJson(terminal, jsonForm(table));
    case 'ddrescue':
      return terminal.print(ddrescueMapfile(table, of, packageVersion()));
    case 'badblocks':
      return printLines(terminal, badblocksList(table, of, blockBytes));
    case 'dmsetup':
      refuseWithoutDisks(table);
      warnOfFiles(terminal, table);
      return terminal.print(dmsetupTable(table));
  }
}

function formatOf({ format, json }: ExportFlags): Format {
  if (json === true && format !== undefined && format !== 'json') {
    throw new SetupError('usage', `--json and --format ${format} exclude each other; give one`);
  }
  const found = formats.find((known) => known === (format ?? 'json'));
  if (found !== undefined) return found;
  throw new SetupError('usage', `--format ${format}: expected one of ${formats.join(', ')}`);
}

function listOf({ of }: ExportFlags, format: Format): ListOf {
  if (of === undefined) return 'device';
  if (of !== 'device' && of !== 'main') throw new SetupError('usage', `--of ${of}: expected device or main`);
  if (format === 'ddrescue' || format === 'badblocks') return of;
  throw new SetupError('usage', `--of ${of}: ${format} tells everything; leave it out`);
}

async function tableOf(
  terminal: Terminal,
  name: string | undefined,
  flags: ExportFlags,
): Promise<SectorTable> {
  if ((name === undefined) === (flags.spare === undefined)) {
    throw new SetupError('usage', 'of which device? give NAME of one that is served, or --spare DEVICE');
  }
  if (name !== undefined) return await tableOfDevice(name);
  const { inUse, ...table } = await tableOfSpare(flags.spare!, flags.force === true);
  if (inUse) {
    terminal.warn(
      `dm-remap: export: warning: ${table.sparePath}: not closed: its device is served, or was killed; there may be more by now`,
    );
  }
  return table;
}

/** Stable: docs/cli.md. */
function jsonForm({ runs, ...table }: SectorTable): object {
  return { ...table, entries: runs };
}

function printLines(terminal: Terminal, lines: Iterable<string>): void {
  let piece: string[] = [];
  for (const line of lines) {
    piece.push(line);
    if (piece.length < linesPerPrint) continue;
    terminal.print(piece.join('\n'));
    piece = [];
  }
  if (piece.length > 0) terminal.print(piece.join('\n'));
}

/** A device-mapper of a kernel knows block devices only. */
function refuseWithoutDisks({ mainPath, sparePath }: SectorTable): void {
  for (const path of [mainPath, sparePath]) {
    if (isAbsolute(path)) continue;
    const what = path === '' ? 'main has no path on the spare' : `${path} is no disk of this machine`;
    throw new SetupError(
      'refused',
      `${what}: expected block devices under a device of the kernel; use another format`,
    );
  }
}

function warnOfFiles(terminal: Terminal, { mainPath, sparePath }: SectorTable): void {
  for (const path of [mainPath, sparePath]) {
    const found = statSync(path, { throwIfNoEntry: false });
    if (found?.isBlockDevice() === true) continue;
    const what = found === undefined ? 'is not there' : 'is no block device: put it under a loop device';
    terminal.warn(`dm-remap: export: warning: ${path}: ${what}, and put its path into the table`);
  }
}
