import type { ScanRow } from './scan-spares.ts';

/** A disk or image of a scan, and the device that is served from it now (empty: none). */
export type AssemblyRow = ScanRow & { readonly servedAs: string };

/**
 * - `start`    spare and main are there, and prove that they belong together
 * - `wait`     the main is not there, or not yet
 * - `served`   it is served already
 * - `refused`  a person must say what is meant
 */
export type AssemblyVerdict = 'start' | 'wait' | 'served' | 'refused';

/** What is to become of one device that was found by its spare. */
export interface Assembly {
  readonly verdict: AssemblyVerdict;
  /** Empty where no superblock is whole. */
  readonly name: string;
  readonly uuid: string;
  readonly sparePath: string;
  /** Of `start`: where main is now, when that is not where the spare last saw it. */
  readonly mainPath: string;
  /** One clause: how sure it is, or why not. */
  readonly why: string;
}

/**
 * M12, M15: what belongs together, of all disks that were scanned. By identity only: a device is started when one disk alone is
 * its spare and one disk alone names itself as its main. Of everything else the clause says what a person has to do. In the order
 * of names. Pure.
 */
export function planAssembly(rows: readonly AssemblyRow[]): readonly Assembly[] {
  const spares = withoutTwins(rows.filter(({ uuid }) => uuid !== ''));
  const uuids = new Set(spares.map(({ uuid }) => uuid));
  const planned = [...uuids].map((one) => planOne(spares.filter(({ uuid }) => uuid === one)));
  const unreadable = rows.flatMap(({ path, state }) =>
    state === 'damaged' || state === 'newer' ? [refusedUnread(path, state)] : [],
  );
  return refuseSameNames([...planned, ...unreadable]).sort(byName);
}

/** A disk may have been asked about by two of its names. */
function withoutTwins(rows: readonly AssemblyRow[]): readonly AssemblyRow[] {
  return rows.filter((row, at) => rows.findIndex(({ key }) => key === row.key) === at);
}

function planOne(rows: readonly AssemblyRow[]): Assembly {
  const served = rows.find(({ servedAs }) => servedAs !== '');
  if (served !== undefined) return assembly(served, 'served', `served as ${served.servedAs}`);
  const originals = rows.filter(({ copyOf }) => copyOf === '');
  const [original, ...others] = originals;
  if (original === undefined) {
    const paths = rows.map(({ path }) => path).join(' and ');
    const one = rows[0]!;
    const why = rows.length === 1 ? ` (${one.copyOf})` : '';
    return assembly(
      one,
      'refused',
      `${paths}: only copies of its spare are here${why}; plug in the original, or "dm-remap adopt" makes one the spare`,
    );
  }
  if (others.length > 0) {
    const paths = originals.map(({ path }) => path).join(' and ');
    return assembly(
      original,
      'refused',
      `${paths} both claim to be its spare; unplug the wrong one, or "dm-remap wipe" it`,
    );
  }
  return planMain(original, rows.length - 1);
}

function planMain(spare: AssemblyRow, copies: number): Assembly {
  const { main, mainPath, mainFoundPath } = spare;
  const byHand = `when you know which it is: dm-remap assemble --spare ${spare.path} --main …`;
  switch (main) {
    case 'found': {
      const beside =
        copies === 0
          ? ''
          : `; ${copies} other disk${copies === 1 ? '' : 's'} with a copy of its spare left alone`;
      const moved = mainFoundPath === mainPath ? '' : `, which was ${mainPath}`;
      const why = `${mainFoundPath}${moved} names itself as its main, ${spare.path} is its spare${beside}`;
      return { ...assembly(spare, 'start', why), mainPath: moved === '' ? '' : mainFoundPath };
    }
    case 'elsewhere':
      return assembly(
        spare,
        'start',
        `${mainPath} is named by the spare, and says itself whether it is the main`,
      );
    case 'several':
      return assembly(spare, 'refused', `${mainFoundPath} all name themselves as its main; ${byHand}`);
    case 'unproven':
      return assembly(spare, 'refused', `nothing proves that ${mainFoundPath} still is its main; ${byHand}`);
    case 'missing':
      return assembly(spare, 'wait', `its main is not there, was ${mainPath}`);
    case '':
      return assembly(spare, 'refused', `its spare does not say what its main is; ${byHand}`);
  }
}

function assembly(row: AssemblyRow, verdict: AssemblyVerdict, why: string): Assembly {
  return { verdict, name: row.name, uuid: row.uuid, sparePath: row.path, mainPath: '', why };
}

function refusedUnread(path: string, state: 'damaged' | 'newer'): Assembly {
  const why =
    state === 'newer'
      ? `${path}: written by a newer dm-remap`
      : `${path}: no superblock is whole; look with "dm-remap metadata check ${path}"`;
  return { verdict: 'refused', name: '', uuid: '', sparePath: path, mainPath: '', why };
}

/** Two devices cannot have one name, and which of them was meant nobody knows. */
function refuseSameNames(assemblies: readonly Assembly[]): Assembly[] {
  return assemblies.map((one) => {
    const other = assemblies.find(({ name, uuid }) => name !== '' && name === one.name && uuid !== one.uuid);
    if (other === undefined || one.verdict === 'served') return one;
    const why = `${one.sparePath} and ${other.sparePath} are spares of two devices of this name; give one a new name: dm-remap assemble NEW-NAME --spare ${one.sparePath}`;
    return { ...one, verdict: 'refused', mainPath: '', why };
  });
}

function byName(one: Assembly, other: Assembly): number {
  return one.name === other.name ? (one.uuid < other.uuid ? -1 : 1) : one.name < other.name ? -1 : 1;
}
