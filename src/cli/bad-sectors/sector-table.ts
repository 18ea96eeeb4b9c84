/**
 * - `remapped`    the spare alone has its bytes
 * - `unreadable`  main could not read it and alone has its bytes
 * - `suspect`     another tool said so; main is asked once
 * - `fresh-zero`  main cannot read it, nobody ever wrote it, it reads as zeros
 * - `gone`        acknowledged bytes are lost
 */
export type SectorPlace = 'remapped' | 'unreadable' | 'suspect' | 'fresh-zero' | 'gone';

/** Sectors of 512 bytes that follow each other, on the spare too. */
export interface SectorRun {
  readonly sector: number;
  readonly sectorCount: number;
  readonly place: SectorPlace;
  /** Of `remapped`, as is `cause`, why it was moved; null for the others. */
  readonly spareSector: number | null;
  readonly cause: string | null;
  readonly flags: readonly string[];
}

/** What is special about a device, wherever it was read from. */
export interface SectorTable {
  readonly name: string;
  readonly uuid: string;
  readonly sizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly granuleBytes: number;
  readonly mainPath: string;
  readonly sparePath: string;
  /** Ascending; what is not among them is on main. */
  readonly runs: readonly SectorRun[];
}

/** Whose bad sectors a list names: the device's, which give no bytes, or main's, which must be read elsewhere or not at all. */
export type ListOf = 'device' | 'main';

/** How a run stands in a list: bad, doubtful, or not at all. */
export function badness({ place }: SectorRun, of: ListOf): 'bad' | 'doubtful' | 'good' {
  if (place === 'suspect') return 'doubtful';
  if (place === 'unreadable' || place === 'gone') return 'bad';
  return of === 'main' ? 'bad' : 'good';
}
