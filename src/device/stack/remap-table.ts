import { sectorBytes } from '../../block/block-device.ts';
import { TargetRegistry } from '../../mapping/registry.ts';
import { escapeWord, parseTable } from '../../mapping/table-syntax.ts';
import type { TargetType } from '../../mapping/target.ts';
import { TargetError } from '../../mapping/target-error.ts';
import { SetupError } from '../setup-error.ts';

/** The parts of `0 LENGTH remap MAIN SPARE`. */
export interface RemapTable {
  readonly mainPath: string;
  readonly sparePath: string;
  /** The device's size as the line says it. */
  readonly lengthBytes: number;
}

/** Only to read the line: `create` formats the spare before `remapTargetType` of remap/ could open it. */
const remapTargetType: TargetType = {
  name: 'remap',
  usage: 'MAIN SPARE',
  argumentCountMin: 2,
  argumentCountMax: 2,
  ctr: () => Promise.reject(new TargetError('TARGET_DEVICE', 'remap: this line is read, not opened')),
};

/** Reads the one line of a remap device. Throws `SetupError` usage. */
export function parseRemapTable(text: string): RemapTable {
  try {
    const segments = parseTable(text, new TargetRegistry([remapTargetType]));
    const [segment] = segments;
    const [mainPath, sparePath] = segment?.words ?? [];
    if (segments.length !== 1 || segment === undefined || mainPath === undefined || sparePath === undefined) {
      throw new SetupError(
        'usage',
        `a table of ${segments.length} lines, expected one: 0 LENGTH remap MAIN SPARE`,
      );
    }
    return { mainPath, sparePath, lengthBytes: segment.sectorCount * sectorBytes };
  } catch (error) {
    if (error instanceof TargetError) throw new SetupError('usage', error.message, { cause: error });
    throw error;
  }
}

/** The line that `parseRemapTable` reads back. */
export function formatRemapTable(table: RemapTable): string {
  return `0 ${table.lengthBytes / sectorBytes} remap ${escapeWord(table.mainPath)} ${escapeWord(table.sparePath)}`;
}
