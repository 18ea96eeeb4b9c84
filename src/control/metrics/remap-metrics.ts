import type { Labels } from './exposition.ts';
import { counter, type DeviceMetric } from './metric.ts';

/**
 * The counters of the remap target by their names in `status`. Each has a metric of its own: what an operator can write an alert
 * for should be found by its name.
 */
export const remapCounterMetrics: Readonly<
  Record<string, { readonly name: string; readonly labels?: Labels; readonly help: string }>
> = {
  mainReadErrors: {
    name: 'main_errors_total',
    labels: { direction: 'read' },
    help: 'Requests that the main disk failed.',
  },
  mainWriteErrors: {
    name: 'main_errors_total',
    labels: { direction: 'write' },
    help: 'Requests that the main disk failed.',
  },
  spareErrors: { name: 'spare_errors_total', help: 'Requests that the spare failed.' },
  remaps: { name: 'remaps_total', help: 'Granules that were moved to the spare, again too.' },
  rewritesInPlace: {
    name: 'rewrites_in_place_total',
    help: 'Writes that main failed, and took when asked again in place.',
  },
  readsSaved: { name: 'reads_saved_total', help: 'Reads that main failed, and gave when asked again.' },
  lostReads: { name: 'lost_reads_total', help: 'Reads that met sectors whose bytes are lost.' },
  freshZeros: {
    name: 'fresh_zero_sectors_read_total',
    help: 'Sectors that main cannot read and nobody wrote that were answered as zeros.',
  },
  failedWrites: { name: 'failed_writes_total', help: 'Writes that were answered with an error of a disk.' },
  writesWithoutRoom: {
    name: 'writes_without_room_total',
    help: 'Writes that a disk refused because the file system or thin volume under it is full.',
  },
  verifyMismatches: {
    name: 'verify_mismatches_total',
    help: 'Granules that read back other bytes than were written.',
  },
  lazyCommitsFailed: {
    name: 'lazy_commits_failed_total',
    help: 'Marks of unreadable sectors that could not be stored; they are made again at the next read.',
  },
  takenHome: { name: 'taken_home_granules_total', help: 'Granules that went back to main.' },
  salvageDropped: {
    name: 'salvage_dropped_granules_total',
    help: 'Granules that the salvager gave up; the next read asks main anew.',
  },
  salvagedGranules: {
    name: 'salvaged_granules_total',
    help: 'Granules that were moved because main gave them only when asked again.',
  },
  zeroedReads: {
    name: 'zeroed_reads_total',
    help: 'Reads in whose replies zeros stand for lost sectors (policy on-lost zero).',
  },
};

/** Counters of one name that differ by a label are one family. */
export function remapMetrics(): readonly DeviceMetric[] {
  const names = [...new Set(Object.values(remapCounterMetrics).map(({ name }) => name))];
  return names.map((name) => {
    const parts = Object.entries(remapCounterMetrics).filter(([, metric]) => metric.name === name);
    return counter(name, parts[0]![1].help, ({ remap }) =>
      parts.flatMap(([key, { labels }]) => {
        const value = remap.counters[key];
        // A device without its spare has no such counters, which is not the same as none.
        return value === undefined ? [] : [{ labels: labels ?? {}, value }];
      }),
    );
  });
}
