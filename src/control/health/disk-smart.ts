import type { DeviceStatus, SmartIncreased } from '../../device/messages.ts';
import type { DiskFacts, DiskRole } from '../../health/health-facts.ts';
import { type HealthRecord, historyOf, keepReading } from '../../health/health-record.ts';
import type { DiskHealth } from '../../health/health-status.ts';
import { recentIncreases } from '../../health/smart-history.ts';
import { increasesBetween } from '../../health/smart-reading.ts';
import { readWords, type SmartAnswer, smartAnswer } from './smart-output.ts';
import type { Smartctl } from './smartctl.ts';
import type { WholeDisk } from './whole-disks.ts';

/** A whole disk, and what it last said when it was asked. */
export interface AskedDisk {
  readonly disk: WholeDisk;
  readonly answer: SmartAnswer;
}

export type FindDisks = (role: DiskRole, path: string) => Promise<readonly WholeDisk[]>;

/** The whole disks under main and its spares. An NBD export is another machine's business, a table the fault lab's. */
export async function disksOfDevice(
  { main, spare }: Pick<DeviceStatus, 'main' | 'spare'>,
  moreSpares: readonly string[],
  findDisks: FindDisks,
): Promise<readonly WholeDisk[]> {
  const places: [DiskRole, DeviceStatus['main']][] = [['main', main]];
  if (spare !== null) places.push(['spare', spare]);
  const named = places
    .filter(([, { access }]) => access === 'direct' || access === 'buffered')
    .map(([role, { path }]) => findDisks(role, path));
  const more = moreSpares.filter((path) => path.startsWith('/')).map((path) => findDisks('spare', path));
  const found = (await Promise.all([...named, ...more])).flat();
  return found.filter((disk, at) => found.findIndex((other) => other.key === disk.key) === at);
}

/** Asks all of them, each once, at the same time. Never rejects. */
export function askDisks(
  disks: readonly WholeDisk[],
  smartctl: Smartctl,
  unixSeconds: number,
): Promise<readonly AskedDisk[]> {
  const ends = new Map<string, Promise<SmartAnswer>>();
  const ask = (device: string): Promise<SmartAnswer> => {
    const asked =
      ends.get(device) ?? smartctl.run(device, readWords).then((end) => smartAnswer(end, unixSeconds));
    ends.set(device, asked);
    return asked;
  };
  return Promise.all(disks.map(async (disk) => ({ disk, answer: await ask(disk.device) })));
}

/** The record with what the disks said, and what grew since they were asked before. */
export function keepAnswers(
  record: HealthRecord,
  asked: readonly AskedDisk[],
): { readonly record: HealthRecord; readonly increased: readonly SmartIncreased[] } {
  let kept = record;
  const increased: SmartIncreased[] = [];
  for (const { disk, answer } of asked) {
    if (answer.reading === undefined) continue;
    const before = historyOf(record, disk.key)?.last;
    const grown = before === undefined ? [] : increasesBetween(before, answer.reading);
    increased.push(...grown.map((one) => ({ disk: disk.role, device: disk.device, ...one })));
    kept = keepReading(kept, disk.key, answer.reading);
  }
  return { record: kept, increased };
}

/** What is judged: a disk that sleeps, or does not answer, is what it last said. */
export function diskFacts(record: HealthRecord, asked: readonly AskedDisk[]): readonly DiskFacts[] {
  return asked.flatMap(({ disk: { role, device, key } }) => {
    const history = historyOf(record, key);
    return history === undefined
      ? []
      : [{ role, device, reading: history.last, recent: recentIncreases(history) }];
  });
}

/** For people. */
export function diskHealth(record: HealthRecord, { disk, answer }: AskedDisk): DiskHealth {
  const history = historyOf(record, disk.key);
  return {
    disk: disk.role,
    device: disk.device,
    smart: answer.state,
    detail: answer.detail,
    readUnixSeconds: history?.last.unixSeconds ?? 0,
    model: history?.last.model ?? '',
    serial: history?.last.serial ?? '',
    failing: history?.last.failing ?? false,
    counters: history?.last.counters ?? {},
    grown: history === undefined ? {} : recentIncreases(history),
  };
}
