import { assert } from '../block/assert.ts';

/**
 * The writes of all connections that the device has not answered, so that none is overtaken by a later one of another
 * connection. A client whose connection breaks sends its writes again on the next one, and then others to the same place; what
 * the old connection left behind is still on its way, perhaps held for a disk that is away (R17), and would land last. Of one
 * connection the order of unanswered writes is free, and nothing is asked.
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
  readonly #waiting: (() => void)[] = [];
  #writing = 0;

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

  /** True when another connection than `connection` has an unanswered write on these bytes. */
  overlapsOthers(connection: number, offset: number, length: number): boolean {
    const own = this.#countByConnection[connection] === 0 ? 0 : 1;
    if (this.#writing === own) return false;
    const end = offset + length;
    for (let ticket = 0; ticket < this.#starts.length; ticket += 1) {
      if (this.#starts[ticket]! >= end || this.#ends[ticket]! <= offset) continue;
      if (this.#connections[ticket] !== connection) return true;
    }
    return false;
  }

  /** Resolves when some write was answered; whoever waits asks again. */
  change(): Promise<void> {
    return new Promise((resolve) => {
      this.#waiting.push(resolve);
    });
  }

  /** A write goes to the device; the ticket is for `end`. */
  begin(connection: number, offset: number, length: number): number {
    const ticket = this.#freeTickets.pop() ?? this.#starts.length;
    this.#connections[ticket] = connection;
    this.#starts[ticket] = offset;
    this.#ends[ticket] = offset + length;
    if (this.#countByConnection[connection] === 0) this.#writing += 1;
    this.#countByConnection[connection]! += 1;
    return ticket;
  }

  /** The device has answered. */
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
