import { AlertPosition } from './alert-position.ts';
import type { AlertSources } from './alert-sources.ts';
import { Delivery, type Receiver } from './delivery.ts';
import type { MonitorFile, MonitorMemory } from './monitor-file.ts';

export interface MonitorOptions {
  readonly sources: AlertSources;
  readonly receivers: readonly Receiver[];
  readonly file: MonitorFile;
  /** Of a line for people. */
  readonly complain: (line: string) => void;
  readonly nowUnixMs: () => number;
  /** Never goes backwards. */
  readonly nowMs: () => number;
}

/** That are remembered besides those of the command line. */
const otherReceiversMax = 32;

/** Looks for alerts, tells them, and remembers how far. */
export class Monitor {
  readonly #options: MonitorOptions;
  readonly #deliveries: readonly Delivery[];
  /** Receivers that nobody remembers: for them what happened before is past. */
  readonly #beginners: Set<Delivery> = new Set();
  readonly #complaints = new Set<string>();
  /** What is remembered of receivers that this monitor has not. */
  readonly #others: MonitorMemory['receivers'];

  /** Throws what `MonitorFile.read` throws. */
  constructor(options: MonitorOptions) {
    this.#options = options;
    const { receivers, file, complain } = options;
    const memory: MonitorMemory['receivers'] = file.read()?.receivers ?? {};
    this.#others = Object.fromEntries(
      Object.entries(memory)
        .filter(([name]) => receivers.every((receiver) => receiver.name !== name))
        .slice(-otherReceiversMax),
    );
    this.#deliveries = receivers.map((receiver) => {
      const stored = memory[receiver.name];
      const delivery = new Delivery(receiver, new AlertPosition(stored), complain);
      if (stored === undefined) this.#beginners.add(delivery);
      return delivery;
    });
  }

  get isFirst(): boolean {
    return this.#beginners.size > 0;
  }

  /** Alerts that have not been told yet: their receiver failed, or has heard enough for a while. */
  get waiting(): number {
    return this.#deliveries.reduce((sum, { waiting }) => sum + waiting, 0);
  }

  /** One look and what follows from it. */
  async look(): Promise<void> {
    const { sources, nowUnixMs, nowMs } = this.#options;
    const alerts = await sources.look(nowUnixMs(), (line) => this.#complainOnce(line));
    let moved = this.#beginners.size > 0;
    for (const delivery of this.#deliveries) {
      for (const alert of alerts) {
        // A process that is gone now is no past.
        if (this.#beginners.has(delivery) && alert.kind !== 'process-died') delivery.position.advance(alert);
        else delivery.offer(alert);
      }
      if (await delivery.run(nowMs())) moved = true;
    }
    this.#beginners.clear();
    if (moved) this.save();
  }

  /** Also marks the file as ours. */
  save(isLast = false): void {
    const { file, sources } = this.#options;
    const told = this.#deliveries
      // Who has not begun is a beginner the next time too.
      .filter((delivery) => !this.#beginners.has(delivery))
      .map(({ receiver, position }) => [receiver.name, position.stored((source) => sources.isThere(source))]);
    file.write({ ...this.#others, ...Object.fromEntries(told) }, isLast);
  }

  /** Of a log that cannot be read: once, not at each look. */
  #complainOnce(line: string): void {
    if (this.#complaints.has(line)) return;
    this.#complaints.add(line);
    this.#options.complain(line);
  }
}
