import { assert } from '../block/assert.ts';

/**
 * The writes of all connections that have no answer, in the order in which they came, so that none is overtaken by a later one of
 * another connection. A client whose connection breaks sends its writes again on the next one, and then others to the same place;
 * what the old connection left behind is still on its way, perhaps held for a disk that is away (R17), and would land last. That
 * goes for a write that itself waits here, too: whoever comes later waits for it, though the device does not have it yet. Each
 * waits for earlier ones only, so nobody waits in a circle. Of one connection the order of unanswered writes is free, and nothing
 * is asked.
 *
 * Tickets are numbers and their arrays are reused: no garbage a request, and one comparison while only one connection writes.
 */
export class UnfinishedWrites {
  readonly #countByConnection: number[] = [];
  readonly #freeConnections: number[] = [];
  readonly #freeTickets: number[] = [];
  readonly #connections: number[] = [];
  readonly #starts: number[] = [];
  readonly #ends: number[] = [];
  readonly #arrivals: number[] = [];
  readonly #waiting: (() => void)[] = [];
  /** Connections that have any. */
  #writing = 0;
  /** Writes so far. */
  #arrived = 0;

  /** The number of a new connection, its own until `connectionEnded`. */
  newConnection(): number {
    return this.#freeConnections.pop() ?? this.#countByConnection.push(0) - 1;
  }

  /** Everything that the connection has sent is answered. */
  connectionEnded(connection: number): void {
    assert(
      this.#countByConnection[connection] === 0,
      'UnfinishedWrites: a connection ended before its writes',
    );
    this.#freeConnections.push(connection);
  }

  /** True while an earlier write of another connection on these bytes has no answer. */
  mustWait(ticket: number): boolean {
    const connection = this.#connections[ticket]!;
    if (this.#writing === 1) return false;
    const start = this.#starts[ticket]!;
    const end = this.#ends[ticket]!;
    const arrival = this.#arrivals[ticket]!;
    for (let other = 0; other < this.#starts.length; other += 1) {
      if (this.#starts[other]! >= end || this.#ends[other]! <= start) continue;
      if (this.#connections[other] !== connection && this.#arrivals[other]! < arrival) return true;
    }
    return false;
  }

  /** Resolves when some write was answered; whoever waits asks again. */
  change(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** A write has come. It goes to the device when it need not wait; the ticket is for `end`. */
  begin(connection: number, offset: number, length: number): number {
    const ticket = this.#freeTickets.pop() ?? this.#starts.length;
    this.#connections[ticket] = connection;
    this.#starts[ticket] = offset;
    this.#ends[ticket] = offset + length;
    this.#arrivals[ticket] = this.#arrived;
    this.#arrived += 1;
    if (this.#countByConnection[connection] === 0) this.#writing += 1;
    this.#countByConnection[connection]! += 1;
    return ticket;
  }

  /** It has its answer. */
  end(ticket: number): void {
    const connection = this.#connections[ticket]!;
    assert(this.#ends[ticket]! > 0, 'UnfinishedWrites: a write ended twice');
    this.#starts[ticket] = 0;
    this.#ends[ticket] = 0;
    this.#freeTickets.push(ticket);
    this.#countByConnection[connection]! -= 1;
    if (this.#countByConnection[connection] === 0) this.#writing -= 1;
    if (this.#waiting.length > 0) for (const resume of this.#waiting.splice(0)) resume();
  }
}
