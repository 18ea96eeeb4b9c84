import { scoreMax } from '../../health/health-score.ts';
import type { DiskHealth, HealthStatus } from '../../health/health-status.ts';
import { smartCounterNames, smartCounters } from '../../health/smart-reading.ts';
import { type Row, titled } from './status-text.ts';

/** Health for people: the score and its direction, why, what to do, and what is known of each disk. */
export function healthText(name: string, health: HealthStatus | null, nowUnixMs: number): string {
  if (health === null)
    return `${name}: nobody watches its health: "dm-remap policy ${name} health on" lets somebody`;
  const rows: Row[] = [
    ...labelled('because', health.reasons.map(reasonText)),
    ...labelled(
      'advice',
      health.advice.map(({ text }) => text),
    ),
    ['growth', growthText(health)],
    ...placesRow(health),
    ...health.disks.flatMap((disk) => diskRows(disk, nowUnixMs)),
    ...labelled('trouble', health.trouble === '' ? [] : [health.trouble]),
  ];
  return titled(`${name}: health ${health.score} of ${scoreMax} (${scoreMax} is healthy)`, rows);
}

/** The first line of several carries the label. */
function labelled(label: string, lines: readonly string[]): Row[] {
  return lines.map((line, at) => [at === 0 ? label : '', line]);
}

function reasonText({ lowersBy, holdsAt, text }: HealthStatus['reasons'][number]): string {
  const weight = [
    ...(lowersBy === 0 ? [] : [`-${lowersBy}`]),
    ...(holdsAt === null ? [] : [`at most ${holdsAt}`]),
  ];
  return `${text} (${weight.join(', ')})`;
}

function growthText({ growth, spareFullInDays }: HealthStatus): string {
  const { badSectorsLastDay, badSectorsLastWeek, badSectorsWeekBefore } = growth;
  const sectors = `${badSectorsLastDay} new bad sectors today, ${badSectorsLastWeek} in 7 days, ${badSectorsWeekBefore} in the 7 before`;
  return spareFullInDays === null ? sectors : `${sectors}; the spare is full in ${spareFullInDays} days`;
}

function placesRow({ places }: HealthStatus): Row[] {
  if (places === null || places.clusters === 0) return [];
  const { clusters, tenths, hotSpot } = places;
  const spot =
    hotSpot === null
      ? ''
      : `; most of them within sectors ${hotSpot.first}-${hotSpot.last}: a scratch, or a spot that a head has hit`;
  const groups = `${clusters} group${clusters === 1 ? '' : 's'}`;
  return [['places', `bad sectors in ${groups}, by tenths of main: ${tenths.join(' ')}${spot}`]];
}

function diskRows(disk: DiskHealth, nowUnixMs: number): Row[] {
  const product = [disk.model, disk.serial].filter((part) => part !== '').join(' ');
  const known =
    disk.readUnixSeconds === 0 ? '' : `, read ${agoText(nowUnixMs / 1000 - disk.readUnixSeconds)}`;
  const state = disk.smart === 'read' ? 'SMART' : `SMART: ${disk.detail}`;
  const words = `${disk.device}${product === '' ? '' : ` (${product})`}, ${state}${known}`;
  const counts = smartCounterNames.flatMap((name): Row[] => {
    const count = disk.counters[name];
    if (count === undefined) return [];
    const grown = disk.grown[name] ?? 0;
    return [['', `${smartCounters[name]}: ${count}${grown === 0 ? '' : `, ${grown} more in 7 days`}`]];
  });
  return [[disk.disk, words], ...counts];
}

function agoText(seconds: number): string {
  if (seconds < 90) return 'just now';
  if (seconds < 5400) return `${Math.round(seconds / 60)} minutes ago`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} hours ago`;
  return `${Math.round(seconds / 86_400)} days ago`;
}
