import type { DiskRequests, RequestPhase, WaitingRequests } from '../messages.ts';

/** How many of the oldest are looked at for one line. */
export const describedMax = 64;

/** Words for people, behind "requests". */
export const phaseTexts: Readonly<Record<RequestPhase, string>> = {
  suspended: 'held by suspension',
  'connection-limit': "waiting for their connection's limit",
  'waiting-for-memory': 'waiting for memory',
  'behind-earlier-write': 'behind an earlier write',
  'at-main': 'at main',
  'at-spare': 'at the spare',
  flushing: 'flushing',
  committing: 'committing metadata',
  'waiting-for-lock': 'waiting for a granule lock',
  'waiting-for-path': 'waiting for a closed path',
  deciding: 'being decided',
  replying: 'sending the reply',
};

/** `3 requests have no answer, the oldest for 43 s (2 at main, 1 flushing)`; undefined when all have theirs. */
export function describeUnanswered({ count, oldest }: WaitingRequests): string | undefined {
  const [first] = oldest;
  if (first === undefined) return undefined;
  const phases = new Map<string, number>();
  for (const { phase } of oldest) phases.set(phaseTexts[phase], (phases.get(phaseTexts[phase]) ?? 0) + 1);
  const where = [...phases].map(([phase, requests]) => `${requests} ${phase}`).join(', ');
  const requests = count === 1 ? '1 request has' : `${count} requests have`;
  const age = count === 1 ? `for ${first.ageSeconds} s` : `the oldest for ${first.ageSeconds} s`;
  return `${requests} no answer, ${age} (${where})`;
}

/** `2 requests at /dev/sdb`; undefined when there are none. */
export function describeLeftBehind(disks: readonly DiskRequests[]): string | undefined {
  const busy = disks.filter(({ requests }) => requests > 0);
  if (busy.length === 0) return undefined;
  return busy
    .map(({ path, requests }) => `${requests} ${requests === 1 ? 'request' : 'requests'} at ${path}`)
    .join(', ');
}
