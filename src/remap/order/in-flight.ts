import { assert } from '../../block/assert.ts';

interface DrainWaiter {
  remaining: number;
  readonly resolve: () => void;
}

/**
 * The device I/O that is under way, by the granules it touches on main, wherever it goes. A move waits for what was issued
 * before it (R1); close waits for all. Tickets are numbers and their arrays are reused: no garbage a request.
 */
export class InFlight {
  #firsts: Float64Array = new Float64Array(64).fill(-1);
  #lasts: Float64Array = new Float64Array(64);
  readonly #freeTickets: number[] = [];
  readonly #waiters = new Map<number, DrainWaiter[]>();
  /** Tickets ever used at once; the arrays are scanned up to here only. */
  #ticketsUsed = 0;
  #count = 0;

  get count(): number {
    return this.#count;
  }

  /** Granules `first` to `last`, both included, are being read or written until `end`. */
  begin(first: number, last: number): number {
    const ticket = this.#freeTickets.pop() ?? this.#newTicket();
    this.#firsts[ticket] = first;
    this.#lasts[ticket] = last;
    this.#count += 1;
    return ticket;
  }

  end(ticket: number): void {
    assert(this.#firsts[ticket]! >= 0, 'InFlight: a ticket ended twice');
    this.#firsts[ticket] = -1;
    this.#freeTickets.push(ticket);
    this.#count -= 1;
    if (this.#waiters.size > 0) this.#notify(ticket);
  }

  /** True when something that overlaps `first` to `last` is under way. */
  overlaps(first: number, last: number): boolean {
    for (let ticket = 0; ticket < this.#ticketsUsed; ticket += 1) {
      const from = this.#firsts[ticket]!;
      if (from >= 0 && from <= last && this.#lasts[ticket]! >= first) return true;
    }
    return false;
  }

  /** Resolves when all that overlaps `first` to `last` and had begun before this call has ended. */
  drained(first: number, last: number): Promise<void> {
    const tickets: number[] = [];
    for (let ticket = 0; ticket < this.#ticketsUsed; ticket += 1) {
      if (this.#firsts[ticket]! < 0) continue;
      if (this.#firsts[ticket]! <= last && this.#lasts[ticket]! >= first) tickets.push(ticket);
    }
    if (tickets.length === 0) return Promise.resolve();
    return new Promise((resolve) => {
      const waiter: DrainWaiter = { remaining: tickets.length, resolve };
      for (const ticket of tickets) {
        const waiters = this.#waiters.get(ticket);
        if (waiters === undefined) this.#waiters.set(ticket, [waiter]);
        else waiters.push(waiter);
      }
    });
  }

  #newTicket(): number {
    const ticket = this.#ticketsUsed;
    this.#ticketsUsed += 1;
    if (ticket === this.#firsts.length) {
      const firsts = new Float64Array(ticket * 2).fill(-1);
      firsts.set(this.#firsts);
      this.#firsts = firsts;
      const lasts = new Float64Array(ticket * 2);
      lasts.set(this.#lasts);
      this.#lasts = lasts;
    }
    return ticket;
  }

  #notify(ticket: number): void {
    const waiters = this.#waiters.get(ticket);
    if (waiters === undefined) return;
    this.#waiters.delete(ticket);
    for (const waiter of waiters) {
      waiter.remaining -= 1;
      if (waiter.remaining === 0) waiter.resolve();
    }
  }
}
