/** What is asked of a server: fio's words for it. */
export type Pattern = 'randread' | 'randwrite' | 'randrw' | 'read' | 'write';

/** One kind of work that a client does to an export. */
export interface Workload {
  readonly pattern: Pattern;
  readonly blockBytes: number;
  /** Requests on their way at one time, on each connection. */
  readonly queueDepth: number;
  readonly connections: number;
  /** A flush behind each write. */
  readonly flushEach: boolean;
  /** fio asks for blocks; nbdcopy copies the export once, from its start to its end. */
  readonly client: 'fio' | 'nbdcopy';
}

/** Of every hundred requests of `randrw`. */
export const mixedReadPercent = 70;

export function workload(
  pattern: Pattern,
  blockBytes: number,
  queueDepth: number,
  more: Partial<Pick<Workload, 'connections' | 'flushEach' | 'client'>> = {},
): Workload {
  return { pattern, blockBytes, queueDepth, connections: 1, flushEach: false, client: 'fio', ...more };
}

/** Unique among workloads: `4k randread QD32`, `256k read QD16 by nbdcopy`. */
export function workloadName({
  pattern,
  blockBytes,
  queueDepth,
  connections,
  flushEach,
  client,
}: Workload): string {
  const mixed = pattern === 'randrw' ? ` ${mixedReadPercent}/${100 - mixedReadPercent}` : '';
  const flushed = flushEach ? ' + flush' : '';
  const several = connections === 1 ? '' : `, ${connections} connections`;
  const by = client === 'fio' ? '' : ` by ${client}`;
  return `${blockBytes / 1024}k ${pattern}${mixed}${flushed} QD${queueDepth}${several}${by}`;
}
