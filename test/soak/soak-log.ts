import { appendFileSync, writeFileSync } from 'node:fs';
import type { EventKind, SoakRecord } from './soak-records.ts';

/** What a run records: in a file, a line of JSON each, so that it is there when the run dies; and for its judge. */
export class SoakLog {
  readonly records: SoakRecord[] = [];
  readonly #path: string;
  readonly #startMs = performance.now();
  session = 0;

  constructor(path: string) {
    this.#path = path;
    writeFileSync(path, '');
  }

  /** Since the run began. */
  get seconds(): number {
    return Math.round(performance.now() - this.#startMs) / 1000;
  }

  add(record: SoakRecord): void {
    this.records.push(record);
    appendFileSync(this.#path, `${JSON.stringify(record)}\n`);
  }

  event(event: EventKind, detail: string = ''): void {
    this.add({ kind: 'event', seconds: this.seconds, session: this.session, event, detail });
  }
}
