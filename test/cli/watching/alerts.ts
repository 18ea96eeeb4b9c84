import type { Alert } from '../../../src/cli/watching/alert.ts';
import type { Receiver } from '../../../src/cli/watching/delivery.ts';

/** An alert of one log. */
export function alertNumber(sequence: number, more: Partial<Alert> = {}): Alert {
  return {
    source: '/log',
    sequence,
    orderMs: 1_000 + sequence,
    unixMs: 1_795_202_764_000 + sequence,
    device: 'disk',
    uuid: 'u',
    kind: 'remapped',
    level: 'warn',
    text: `event ${sequence}`,
    ...more,
  };
}

/** Hears, or fails while `fails`. */
export class ListeningReceiver implements Receiver {
  readonly name = 'ear';
  readonly joins: boolean;
  readonly burst: number;
  readonly refillMs = 1_000;
  fails = false;
  /** Numbers of each call; the second entry is what was omitted. */
  readonly calls: [readonly number[], number][] = [];

  constructor(joins: boolean, burst = 3) {
    this.joins = joins;
    this.burst = burst;
  }

  get heard(): readonly number[] {
    return this.calls.flatMap(([numbers]) => numbers);
  }

  deliver(alerts: readonly Alert[], omitted: number): Promise<void> {
    if (this.fails) return Promise.reject(new Error('no answer'));
    this.calls.push([alerts.map(({ sequence }) => sequence), omitted]);
    return Promise.resolve();
  }
}
