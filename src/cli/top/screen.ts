import { formatBytes } from '../../block/byte-text.ts';
import type { DeviceStatus, DiskStatus } from '../../device/messages.ts';
import { describeUnanswered } from '../../device/stack/describe-unanswered.ts';
import { failingScore, scoreMax } from '../../health/health-score.ts';
import type { Screen } from '../terminal.ts';
import { durationText } from '../text/duration-text.ts';
import { scrubLine } from '../text/scrub-text.ts';
import { type DiskMap, mapLegend, mapLines, withCells } from './disk-map.ts';
import { type Figures, type KindFigures, trafficKinds } from './figures.ts';
import { bytesRateText, rateText } from './number-text.ts';
import { fittedLine, type Line, type Style, screenText, span } from './span.ts';

/** One device as it was seen last. */
export interface DeviceView {
  readonly name: string;
  /** Undefined before the first answer. */
  readonly status: DeviceStatus | undefined;
  /** Undefined before the second look at one process. */
  readonly figures: Figures | undefined;
  readonly map: DiskMap | undefined;
  /** Why it could not be asked the last time; empty when it answered. */
  readonly silent: string;
}

export interface TopView {
  readonly devices: readonly DeviceView[];
  /** Which of them is shown whole. */
  readonly selected: number;
  readonly paused: boolean;
  readonly intervalSeconds: number;
  readonly unixMs: number;
  /** Somebody can press keys. */
  readonly keys: boolean;
}

/** Rows that the list of devices may take, of a screen. */
const listShare = 3;
/** A map of less says nothing. */
const mapRowsMin = 2;
const labelColumns = 10;
const barColumns = 24;

/** The whole screen, a line a row, none wider than it. Pure: what is seen is what is given. */
export function screenLines(view: TopView, screen: Screen): Line[] {
  const { above, below } = framedBy(view, screen);
  const map = view.devices[view.selected]?.map;
  const rows = screen.rows - above.length - below.length;
  const picture = map === undefined || rows < mapRowsMin ? [] : mapOf(map, screen.columns, rows);
  return [...above, ...picture, ...below].map((line) => fittedLine(line, screen.columns));
}

/** How many cells of a map there is room for: what is asked of a device. 0 where there is none. */
export function mapCellsOf(view: TopView, screen: Screen): number {
  const { above, below } = framedBy(view, screen);
  const rows = screen.rows - above.length - below.length;
  return rows < mapRowsMin ? 0 : screen.columns * (rows - 1);
}

/** What stands above the map, and below it. */
function framedBy(view: TopView, screen: Screen): { above: Line[]; below: Line[] } {
  const device = view.devices[view.selected];
  const nobody = [[span('no device is served; "dm-remap ls" lists them')]];
  const below = view.keys ? [footLine(view)] : [];
  const above = [
    titleLine(view),
    ...listLines(view, Math.max(1, Math.floor(screen.rows / listShare))),
    ...(device === undefined ? nobody : detailLines(device)),
  ];
  return { above: above.slice(0, Math.max(0, screen.rows - below.length)), below };
}

function titleLine({ paused, intervalSeconds, unixMs }: TopView): Line {
  const time = new Date(unixMs).toISOString().slice(11, 19);
  const title = span(`dm-remap top  every ${intervalSeconds} s  ${time} UTC`, 'strong');
  return paused ? [title, span('  PAUSED', 'bad')] : [title];
}

/** Only where there are several: `> NAME STATE …`, around the one that is shown. */
function listLines({ devices, selected }: TopView, rowsMax: number): Line[] {
  if (devices.length < 2) return [];
  const rows = Math.min(devices.length, Math.max(1, rowsMax - 1));
  const first = Math.max(0, Math.min(selected - Math.floor(rows / 2), devices.length - rows));
  const width = Math.min(24, Math.max(4, ...devices.map(({ name }) => name.length)));
  const head = `  ${'NAME'.padEnd(width)}  ${'HEALTH'.padEnd(8)} READ/s WRITE/s  SPARE    LOST  STATE`;
  return [
    [span(head, 'faint')],
    ...devices.slice(first, first + rows).map((device, at): Line => {
      const chosen = first + at === selected;
      return listLine(device, chosen ? '> ' : '  ', width, chosen ? 'strong' : 'plain');
    }),
  ];
}

function listLine(
  { name, status, figures, silent }: DeviceView,
  mark: string,
  width: number,
  style: Style,
): Line {
  const label = span(`${mark}${cell(screenText(name), width)}  `, style);
  if (status === undefined || silent !== '') return [label, span(screenText(silent || 'asked …'), 'bad')];
  const { remap } = status;
  const lost = remap.unreadableSectors + remap.goneSectors;
  const rate = (kind: 'read' | 'write'): string =>
    (figures === undefined ? '-' : rateText(figures.kinds[kind].requestsPerSecond)).padStart(6);
  return [
    label,
    span(remap.health.padEnd(8), healthStyles[remap.health]),
    span(
      ` ${rate('read')}  ${rate('write')}  ${`${remap.spareUsedPercent} %`.padStart(5)}  ${String(lost).padStart(6)}  `,
    ),
    span(stateText(status), stateStyle(status)),
  ];
}

function detailLines({ name, status, figures, silent }: DeviceView): Line[] {
  if (status === undefined) return [[], [span(screenText(`${name}: ${silent || 'asked …'}`), 'strong')]];
  const { remap } = status;
  const reasons = remap.healthReasons.join('; ');
  return [
    [],
    [
      span(screenText(name), 'strong'),
      span(': '),
      span(stateText(status), stateStyle(status)),
      span(', '),
      span(remap.health, healthStyles[remap.health]),
      span(reasons === '' ? '' : `: ${screenText(reasons)}`),
      span(silent === '' ? '' : `  (now: ${screenText(silent)})`, 'bad'),
    ],
    row('main', [span(diskText(status.main))]),
    row('spare', [span(status.spare === null ? 'none' : diskText(status.spare))]),
    row('slots', slotsPieces(status)),
    row('sectors', sectorPieces(status)),
    ...scoreLines(status),
    ...scrubLines(status),
    row('clients', clientPieces(status)),
    ...trafficLines(figures),
  ];
}

function row(label: string, pieces: Line): Line {
  return [span(`  ${label.padEnd(labelColumns)}`, 'faint'), ...pieces];
}

function stateText({ state, remap }: DeviceStatus): string {
  return remap.state === 'ok' ? state : `${state}, ${remap.state}`;
}

function stateStyle({ state, remap }: DeviceStatus): Style {
  return state === 'serving' && remap.state === 'ok' ? 'plain' : 'bad';
}

const healthStyles: Readonly<Record<DeviceStatus['remap']['health'], Style>> = {
  ok: 'good',
  degraded: 'moved',
  failing: 'bad',
};

function diskText(disk: DiskStatus): string {
  const product = [disk.model, disk.serial].filter((part) => part !== '').join(' ');
  return screenText(`${disk.path}${product === '' ? '' : ` (${product})`}, ${formatBytes(disk.sizeBytes)}`);
}

function slotsPieces({ spare, remap }: DeviceStatus): Line {
  if (spare === null) return [span('none')];
  const { spareUsedPercent: percent, slotsFree, slotsTotal, slotsRetired } = remap;
  return [
    ...bar(percent / 100, percent >= 90 ? 'bad' : 'moved'),
    span(` ${percent} %  ${slotsFree} of ${slotsTotal} free, ${slotsRetired} retired`),
  ];
}

/** `[####------]`, of 0 to 1. */
function bar(share: number, style: Style): Line {
  const filled = Math.min(barColumns, Math.max(share > 0 ? 1 : 0, Math.round(share * barColumns)));
  return [span('['), span('#'.repeat(filled), style), span(`${'-'.repeat(barColumns - filled)}]`)];
}

function sectorPieces({ remap }: DeviceStatus): Line {
  const { remappedSectors, unreadableSectors, goneSectors, freshZeroSectors } = remap;
  const fresh = freshZeroSectors === 0 ? '' : `, ${freshZeroSectors} bad and never written`;
  return [
    span(`${remappedSectors} moved`, remappedSectors > 0 ? 'moved' : 'plain'),
    span(', '),
    span(`${unreadableSectors} unreadable`, unreadableSectors > 0 ? 'bad' : 'plain'),
    span(', '),
    span(`${goneSectors} gone`, goneSectors > 0 ? 'lost' : 'plain'),
    span(fresh),
  ];
}

/** What is most urgent about the disks; nothing where nobody watches them. */
function scoreLines({ health }: DeviceStatus): Line[] {
  if (health === null) return [];
  const { score, advice } = health;
  const style = score === scoreMax ? 'good' : score < failingScore ? 'bad' : 'moved';
  const first = advice[0];
  const text = first === undefined ? '' : `: ${screenText(first.text)}`;
  return [row('score', [span(`${score} of ${scoreMax}`, style), span(text)])];
}

/** Only on a device that was scrubbed, or is. */
function scrubLines({ scrub }: DeviceStatus): Line[] {
  if (scrub === null || (scrub.state === 'idle' && scrub.ended.length === 0)) return [];
  const text = span(screenText(scrubLine(scrub)));
  if (scrub.state === 'idle') return [row('scrub', [text])];
  const style = scrub.state === 'paused' ? 'bad' : 'good';
  return [row('scrub', [...bar(scrub.positionBytes / Math.max(1, scrub.sizeBytes), style), span(' '), text])];
}

function clientPieces(status: DeviceStatus): Line {
  const { connections, requestsInFlight, stuckRequests } = status;
  const stuck = describeUnanswered(stuckRequests);
  return [
    span(`${connections} connected, ${requestsInFlight} requests in flight`),
    ...(stuck === undefined ? [] : [span(`, ${stuck}`, 'bad')]),
  ];
}

/** A kind a line; kinds that nobody used are left out, but for the two that everybody knows. */
function trafficLines(figures: Figures | undefined): Line[] {
  const head: Line = [
    span(`  ${''.padEnd(labelColumns)}${'requests/s'.padStart(10)}${'bytes/s'.padStart(14)}`, 'faint'),
    span(`${'median'.padStart(10)}${'99 of 100'.padStart(12)}`, 'faint'),
  ];
  if (figures === undefined) return [head, row('', [span('figures come with the next look', 'faint')])];
  const shown = trafficKinds.filter(
    (kind) => kind === 'read' || kind === 'write' || figures.kinds[kind].requestsPerSecond > 0,
  );
  return [
    head,
    ...shown.map((kind) => row(kind, [span(kindText(figures.kinds[kind]))])),
    row('errors', [
      span(
        `${rateText(figures.errors / figures.seconds).padStart(10)}`,
        figures.errors > 0 ? 'bad' : 'plain',
      ),
      span(
        figures.errors === 0 ? '' : `  ${countOf(figures.errors, 'request')} failed since the last look`,
        'bad',
      ),
    ]),
  ];
}

function kindText({ requestsPerSecond, bytesPerSecond, medianSeconds, p99Seconds }: KindFigures): string {
  return [
    rateText(requestsPerSecond).padStart(10),
    bytesRateText(bytesPerSecond).padStart(14),
    timeText(medianSeconds).padStart(10),
    timeText(p99Seconds).padStart(12),
  ].join('');
}

function countOf(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`;
}

function timeText(seconds: number | undefined): string {
  return seconds === undefined ? '-' : durationText(seconds);
}

function mapOf(map: DiskMap, columns: number, rows: number): Line[] {
  const shown = withCells(map, columns * (rows - 1));
  return [mapLegend(shown), ...mapLines(shown, columns)];
}

function footLine({ devices, paused }: TopView): Line {
  const arrows = devices.length > 1 ? '  arrows device' : '';
  return [span(`q quit  p ${paused ? 'go on' : 'pause'}${arrows}`, 'faint')];
}

function cell(text: string, width: number): string {
  return text.length <= width ? text.padEnd(width) : `${text.slice(0, width - 1)}…`;
}
