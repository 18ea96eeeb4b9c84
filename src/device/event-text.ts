import { formatBytes } from '../block/byte-text.ts';
import { failingScore, scoreMax } from '../health/health-score.ts';
import { smartCounters } from '../health/smart-reading.ts';
import type { ScrubCounts } from '../scrub/scrub-counts.ts';
import type { ScrubStarter } from '../scrub/scrub-event.ts';
import type { EventFields, EventKind, GranuleSpan, SectorSpan } from './event-kinds.ts';

export type EventLevel = 'info' | 'warn' | 'error';

interface Wording<K extends EventKind> {
  readonly level: EventLevel | ((fields: EventFields[K]) => EventLevel);
  /** One line for people, without time and name. */
  readonly text: (fields: EventFields[K]) => string;
}

const wordings: { readonly [K in EventKind]: Wording<K> } = {
  serving: {
    level: 'info',
    text: ({ version, engine, exports, notes }) =>
      `serving ${exports.join(' ')}, version ${version}, ${engine}${notes.map((note) => `; ${note}`).join('')}`,
  },
  'start-failed': { level: 'error', text: ({ reason }) => `could not start: ${reason}` },
  suspended: {
    level: 'info',
    text: ({ flush }) => `suspended, ${flush ? 'all that was answered is durable' : 'without a flush'}`,
  },
  resumed: { level: 'info', text: () => 'resumed' },
  removing: { level: 'info', text: ({ by }) => `removing, asked by ${by}` },
  removed: {
    level: ({ clean }) => (clean ? 'info' : 'error'),
    text: ({ clean, steps }) =>
      clean ? 'removed, everything is closed' : `removed, not cleanly: ${failedSteps(steps)}`,
  },
  'unclean-end': {
    level: 'warn',
    text: ({ remappedGranules, unreadableSectors, goneSectors }) =>
      `the last session ended without closing (killed, or the power went); found ${remappedGranules} granules remapped, ` +
      `${unreadableSectors} sectors unreadable, ${goneSectors} gone`,
  },
  'took-over': { level: 'warn', text: ({ from }) => `the spare was ${from}` },
  'spare-taken': { level: 'error', text: ({ detail }) => `writes are refused: ${detail}` },
  remapped: {
    level: 'warn',
    text: (fields) =>
      `${granules(fields)} moved to the spare (${causesText(fields.causes)}), ${span(fields)}`,
  },
  'saved-by-salvage': {
    level: 'warn',
    text: (fields) => `${granules(fields)} read only when asked again, saved to the spare, ${span(fields)}`,
  },
  'taken-home': { level: 'info', text: (fields) => `${granules(fields)} back on main, ${span(fields)}` },
  unreadable: { level: 'error', text: (fields) => `${counted(fields)} cannot be read, ${span(fields)}` },
  gone: { level: 'error', text: (fields) => `${counted(fields)} lost for good, ${span(fields)}` },
  'lost-cleared': { level: 'info', text: (fields) => `${counted(fields)} lost no longer, ${span(fields)}` },
  'slot-retired': {
    level: 'warn',
    text: (fields) => `${fields.slots} slots of the spare proved bad, ${span(fields)} of the spare`,
  },
  'spare-filling': {
    level: ({ percent }) => (percent >= 90 ? 'error' : 'warn'),
    text: ({ percent, slotsFree, slotsTotal }) =>
      `the spare is ${percent} % full, ${slotsFree} of ${slotsTotal} slots are free`,
  },
  'spare-replacing': {
    level: 'info',
    text: ({ path, giveUp }) =>
      `${path} is to be the spare${giveUp ? '; what only the old one holds is given up' : ''}`,
  },
  'spare-replaced': {
    level: ({ goneSectors }) => (goneSectors > 0 ? 'error' : 'info'),
    text: ({ path, from, goneSectors, oldWiped }) =>
      `${path} is the spare now, in place of ${from}` +
      `${goneSectors > 0 ? `; ${goneSectors} sectors that only that one held are gone` : ''}` +
      `${oldWiped ? '' : `; ${from} still looks like a spare: never assemble from it, wipe it`}`,
  },
  'spare-added': {
    level: 'info',
    text: ({ path, slots, badSlots }) =>
      `${path} is one more spare, of ${slots} slots${badSlots > 0 ? `; ${badSlots} bad ones are not used` : ''}`,
  },
  'spare-add-failed': {
    level: 'error',
    text: ({ path, reason }) => `${path} could not become a spare: ${reason}`,
  },
  'spare-leaving': {
    level: 'info',
    text: ({ path, giveUp }) =>
      `what the spare ${path} holds moves to the others${giveUp ? '; what it cannot give is given up' : ''}`,
  },
  'spare-removed': {
    level: ({ goneSectors }) => (goneSectors > 0 ? 'error' : 'info'),
    text: ({ path, goneSectors }) =>
      `${path} is no spare any more${goneSectors > 0 ? `; ${goneSectors} sectors that only it held are gone` : ''}`,
  },
  'spare-remove-failed': {
    level: 'error',
    text: ({ path, reason }) => `the spare ${path} could not be removed: ${reason}`,
  },
  'spare-absent': {
    level: 'error',
    text: ({ path, reason }) =>
      `the spare ${path} is not there, and what only it holds cannot be read: ${reason}`,
  },
  'spare-replace-failed': {
    level: 'error',
    text: ({ path, reason }) => `${path} could not take the place of the spare: ${reason}`,
  },
  'scrub-started': { level: 'info', text: ({ by }) => `scrub started by ${starters[by]}` },
  'scrub-resumed': {
    level: 'info',
    text: ({ by, positionBytes }) => `scrub goes on at byte ${positionBytes}, by ${starters[by]}`,
  },
  'scrub-paused': {
    level: ({ reason }) => (reason === 'operator' ? 'info' : 'error'),
    text: ({ reason, positionBytes, ...counts }) =>
      reason === 'storm'
        ? `scrub stopped at byte ${positionBytes}, main fails everything it is asked for; it may be resumed; ${scrubText(counts)}`
        : `scrub paused at byte ${positionBytes}; ${scrubText(counts)}`,
  },
  'scrub-stopped': {
    level: scrubLevel,
    text: ({ positionBytes, ...counts }) => `scrub given up at byte ${positionBytes}; ${scrubText(counts)}`,
  },
  'scrub-finished': {
    level: scrubLevel,
    text: ({ seconds, ...counts }) => `scrub finished in ${seconds} s; ${scrubText(counts)}`,
  },
  'slow-blocks': {
    level: 'warn',
    text: ({ granules: count, movedGranules, firstSector, lastSector }) =>
      `${count} granule${count === 1 ? ' is' : 's are'} slow to read, ` +
      `within sectors ${firstSector}-${lastSector}; ${movedGranules} moved to the spare`,
  },
  'state-changed': {
    level: ({ to }) => (to === 'ok' ? 'info' : 'error'),
    text: ({ from, to }) => `state ${to}, was ${from}`,
  },
  'path-lost': {
    level: 'error',
    text: ({ disk, direction }) => `${disk} does not ${direction === 'read' ? 'answer' : 'take writes'}`,
  },
  'path-back': {
    level: 'info',
    text: ({ disk, direction, awayMs }) =>
      `${disk} ${direction === 'read' ? 'answers' : 'takes writes'} again, after ${(awayMs / 1000).toFixed(1)} s`,
  },
  'file-cut': {
    level: 'error',
    text: ({ path, hadBytes, hasBytes }) =>
      `${path} was cut to ${hasBytes} bytes by somebody, had ${hadBytes}: what lay behind is lost; it is not served any more`,
  },
  'no-room': {
    level: 'error',
    text: ({ disk, writes }) =>
      `${disk} has no room for ${writes} write${writes === 1 ? '' : 's'}: the file system or volume below it is full`,
  },
  'replica-lost': {
    level: 'error',
    text: ({ inSync, total }) => `${inSync} of ${total} replicas of the metadata are left in sync`,
  },
  'replica-repaired': {
    level: 'warn',
    text: ({ inSync, total, detail }) =>
      `${inSync} of ${total} replicas of the metadata are in sync again${detail === '' ? '' : `: ${detail}`}`,
  },
  'heartbeat-failed': {
    level: 'warn',
    text: () => 'the spare does not take the mark that says it is in use',
  },
  'host-state-failed': {
    level: 'warn',
    text: ({ detail }) => `what the host remembers of this device ${detail}`,
  },
  'policy-changed': { level: 'info', text: ({ policy, value }) => `policy ${policy} is now ${value}` },
  'health-changed': {
    level: healthLevel,
    text: ({ score, before, reasons, advice }) =>
      `health ${score} of ${scoreMax}${before === null ? '' : `, was ${before}`} (${scoreMax} is healthy)` +
      `${reasons.length === 0 ? '' : `: ${reasons.join('; ')}`}${advice.map((text) => `; ${text}`).join('')}`,
  },
  'smart-increased': {
    level: 'warn',
    text: ({ disk, device, counter, from, to }) =>
      `${disk}, ${device}: ${counterText(counter)}: ${to}, was ${from}`,
  },
  message: {
    level: 'info',
    text: ({ sector, words, failure }) =>
      `asked: message ${sector} ${words.join(' ')}${failure === '' ? '' : `: refused: ${failure}`}`,
  },
  'client-connected': {
    level: 'info',
    text: ({ peer, open }) => `client ${peer} connected, ${open} now`,
  },
  'client-disconnected': {
    level: 'info',
    text: ({ peer, open }) => `client ${peer} has gone, ${open} left`,
  },
  'protocol-error': { level: 'warn', text: ({ detail }) => detail },
  'control-denied': {
    level: 'warn',
    text: ({ uid, pid, count }) =>
      `control API: refused process ${pid} of user ${uid}${count > 1 ? `, ${count} connections` : ''}`,
  },
  'control-restarted': {
    level: 'error',
    text: ({ reason, restart }) => `control plane ended, starting it again (${restart}): ${reason}`,
  },
  'data-thread-stalled': {
    level: 'error',
    text: ({ forMs }) => `the data thread did not turn for ${(forMs / 1000).toFixed(1)} s`,
  },
  'stuck-requests': {
    level: 'error',
    text: ({ count, oldestAgeMs, phase }) =>
      `${count} requests stuck, the oldest for ${(oldestAgeMs / 1000).toFixed(1)} s: ${phase}`,
  },
  'stuck-ended': {
    level: 'info',
    text: ({ longestAgeMs }) => `no request is stuck any more, the longest was for ${longestAgeMs / 1000} s`,
  },
  'fail-stop': { level: 'error', text: ({ error }) => `internal error, stopping: ${error}` },
  suppressed: { level: 'warn', text: ({ of, count }) => `${count} more events "${of}", not listed` },
  dropped: { level: 'warn', text: ({ count, reason }) => `${count} events are missing here: ${reason}` },
};

/** What is lost is an error, what was bad and is not lost a warning. */
function scrubLevel(counts: Readonly<ScrubCounts>): EventLevel {
  if (counts.lostSectors > 0 || counts.badReplicas > counts.repairedReplicas) return 'error';
  return counts.foundGranules + counts.slowGranules + counts.badReplicas > 0 ? 'warn' : 'info';
}

/** `1.0 GiB of main and 4.0 MiB of slots read, nothing bad` */
function scrubText(counts: Readonly<ScrubCounts>): string {
  const found: readonly [number, string, string][] = [
    [counts.foundGranules, 'granule', 'bad'],
    [counts.savedGranules, '', 'of them saved'],
    [counts.movedGranules, '', 'moved'],
    [counts.lostSectors, 'sector', 'lost'],
    [counts.undecidedSectors, 'sector', 'undecided'],
    [counts.slowGranules, 'granule', 'slow'],
    [counts.slowMovedGranules, '', 'of them moved'],
    [counts.badReplicas, 'replica', 'of the metadata bad'],
    [counts.repairedReplicas, '', 'of them repaired'],
  ];
  const words = found
    .filter(([count]) => count > 0)
    .map(([count, noun, what]) =>
      noun === '' ? `${count} ${what}` : `${count} ${noun}${count === 1 ? '' : 's'} ${what}`,
    );
  const read = `${formatBytes(counts.mainBytes)} of main and ${formatBytes(counts.spareBytes)} of slots read`;
  return `${read}, ${words.length === 0 ? 'nothing bad' : words.join(', ')}`;
}

const starters: Readonly<Record<ScrubStarter, string>> = {
  operator: 'the operator',
  schedule: 'the schedule',
  opening: 'the device, which was opened in the middle of it',
};

export function isEventKind(word: string): word is EventKind {
  return Object.hasOwn(wordings, word);
}

export const eventKinds: readonly EventKind[] = Object.keys(wordings).filter(isEventKind);

export function eventLevel<K extends EventKind>(event: { readonly kind: K } & EventFields[K]): EventLevel {
  const { level }: Wording<K> = wordings[event.kind];
  return typeof level === 'function' ? level(event) : level;
}

/** One line for people, without time and name. */
export function eventText<K extends EventKind>(event: { readonly kind: K } & EventFields[K]): string {
  const { text }: Wording<K> = wordings[event.kind];
  return text(event);
}

/** What a disk has had for long is no alarm, unless it says that it fails. */
function healthLevel({ score, before }: EventFields['health-changed']): EventLevel {
  if (before !== null && score >= before) return 'info';
  if (score < failingScore) return 'error';
  return before === null ? 'info' : 'warn';
}

/** What a later program stored may be a count that this one does not know. */
function counterText(counter: string): string {
  return Object.entries(smartCounters).find(([name]) => name === counter)?.[1] ?? counter;
}

function granules({ granules: count, sectors }: GranuleSpan): string {
  return `${count} granule${count === 1 ? '' : 's'} (${sectors} sectors)`;
}

function counted({ sectors }: SectorSpan): string {
  return `${sectors} sector${sectors === 1 ? '' : 's'}`;
}

function span({ firstSector, lastSector }: SectorSpan): string {
  return firstSector === lastSector ? `sector ${firstSector}` : `within sectors ${firstSector}-${lastSector}`;
}

/** `writeError` as people say it. */
function causesText(causes: Readonly<Record<string, number>>): string {
  const words = Object.entries(causes).map(([cause, count]) => `${count} ${causeWords(cause)}`);
  return words.join(', ');
}

function causeWords(cause: string): string {
  return cause.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);
}

function failedSteps(steps: EventFields['removed']['steps']): string {
  return steps
    .filter(({ result }) => result !== 'done')
    .map(({ step, result, detail }) => `${step} ${result}${detail === '' ? '' : ` (${detail})`}`)
    .join(', ');
}
