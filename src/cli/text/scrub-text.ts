import { formatBytes } from '../../block/byte-text.ts';
import type { EndedScrub, ScrubCounts, ScrubStatus } from '../../device/messages.ts';
import { utcText } from '../../device/utc-text.ts';
import { columns } from './columns.ts';

/** One line: how far it is, or how the last one ended. */
export function scrubLine(scrub: ScrubStatus): string {
  if (scrub.state !== 'idle') return `${scrub.state}${whyText(scrub)}, ${progressText(scrub)}`;
  const last = scrub.ended[0];
  if (last === undefined) return 'never';
  return `${last.end} ${utcText(last.endedUnixSeconds)}, ${foundText(last.counts)}`;
}

/** `12 % (1.2 GiB of 10 GiB), 100 MiB/s, 1 min 30 s left, nothing bad` */
export function progressText(scrub: ScrubStatus): string {
  const { positionBytes, sizeBytes, bytesPerSecond, secondsLeft, counts } = scrub;
  const words = [
    `${percentOf(scrub)} % (${formatBytes(positionBytes)} of ${formatBytes(sizeBytes)})`,
    ...(scrub.state === 'running' && bytesPerSecond > 0 ? [`${formatBytes(bytesPerSecond)}/s`] : []),
    ...(secondsLeft === null ? [] : [`${longText(secondsLeft)} left`]),
    foundText(counts),
  ];
  return words.join(', ');
}

const barCells = 24;

/** `[=========>              ]` */
export function progressBar(scrub: ScrubStatus): string {
  const done = Math.floor((barCells * scrub.positionBytes) / Math.max(1, scrub.sizeBytes));
  const filled = `${'='.repeat(done)}${done < barCells ? '>' : ''}`;
  return `[${filled.padEnd(barCells)}]`;
}

/** All of it, for `scrub NAME status`. */
export function scrubText(name: string, scrub: ScrubStatus): string {
  const { counts, state } = scrub;
  const lines = [`${name}: scrub ${state === 'idle' ? 'idle' : scrubLine(scrub)}`];
  if (state !== 'idle') lines.push(`  read      ${readText(counts)}`);
  if (scrub.nextUnixSeconds !== null) lines.push(`  next      ${utcText(scrub.nextUnixSeconds)}`);
  if (scrub.medianReadMs > 0) lines.push(`  slow      ${slowText(scrub)}`);
  if (scrub.trouble !== '') lines.push(`  trouble   ${scrub.trouble}`);
  if (scrub.ended.length > 0) lines.push(endedTable(scrub.ended));
  return lines.join('\n');
}

function slowText({ medianReadMs, slowReadMs }: ScrubStatus): string {
  const usual = `half of the reads of main take no more than ${medianReadMs.toFixed(1)} ms`;
  return slowReadMs === 0 ? usual : `${usual}, slow is ${Math.round(slowReadMs)} ms`;
}

function endedTable(ended: readonly EndedScrub[]): string {
  return columns([
    ['  ENDED', 'HOW', 'TOOK', 'MAIN', 'SLOTS', 'FOUND'],
    ...ended.map((one) => [
      `  ${utcText(one.endedUnixSeconds)}`,
      one.end,
      longText(one.endedUnixSeconds - one.startedUnixSeconds),
      formatBytes(one.counts.mainBytes),
      formatBytes(one.counts.spareBytes),
      foundText(one.counts),
    ]),
  ]);
}

function readText({ mainBytes, spareBytes }: ScrubCounts): string {
  return `${formatBytes(mainBytes)} of main, ${formatBytes(spareBytes)} of slots`;
}

function whyText({ pauseReason, waitsFor }: ScrubStatus): string {
  if (pauseReason === 'storm') return ' (main failed everything it was asked for)';
  return waitsFor === '' ? '' : ` (waits: ${waitTexts[waitsFor] ?? waitsFor})`;
}

const waitTexts: Readonly<Record<string, string>> = {
  main: 'main does not answer',
  spare: 'the spare does not answer',
  metadata: 'the spare does not take records',
  suspended: 'the device is suspended',
  memory: 'moves need the memory',
};

function foundText(counts: ScrubCounts): string {
  const found: readonly [number, string][] = [
    [counts.foundGranules, 'bad'],
    [counts.savedGranules, 'saved'],
    [counts.movedGranules, 'moved'],
    [counts.lostSectors, 'sectors lost'],
    [counts.undecidedSectors, 'sectors undecided'],
    [counts.slowGranules, 'slow'],
    [counts.slowMovedGranules, 'slow moved'],
    [counts.badReplicas, 'replicas bad'],
    [counts.repairedReplicas, 'replicas repaired'],
  ];
  const words = found.filter(([count]) => count > 0).map(([count, what]) => `${count} ${what}`);
  return words.length === 0 ? 'nothing bad' : words.join(', ');
}

export function percentOf({ positionBytes, sizeBytes }: ScrubStatus): number {
  return sizeBytes === 0 ? 100 : Math.floor((100 * positionBytes) / sizeBytes);
}

/** `2 d 3 h`, `3 h 20 min`, `5 min 10 s`, `8 s` */
export function longText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds));
  const [days, hours] = [Math.floor(whole / 86_400), Math.floor(whole / 3600) % 24];
  const [minutes, left] = [Math.floor(whole / 60) % 60, whole % 60];
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${minutes} min`;
  return minutes > 0 ? `${minutes} min ${left} s` : `${left} s`;
}
