/** Something that can stand in one queue at a time. */
export interface Queueable<Item> {
  /** Next in the queue that it stands in. */
  next: Item | undefined;
}

/** First come, first served, without an array: requests are chained through `next`. */
export class RequestQueue<Item extends Queueable<Item>> {
  #first: Item | undefined;
  #last: Item | undefined;
  #length = 0;

  get length(): number {
    return this.#length;
  }

  get first(): Item | undefined {
    return this.#first;
  }

  push(request: Item): void {
    request.next = undefined;
    if (this.#last === undefined) this.#first = request;
    else this.#last.next = request;
    this.#last = request;
    this.#length += 1;
  }

  shift(): Item | undefined {
    const request = this.#first;
    if (request === undefined) return undefined;
    this.#first = request.next;
    if (this.#first === undefined) this.#last = undefined;
    request.next = undefined;
    this.#length -= 1;
    return request;
  }

  /** Takes out the first request that `condition` names; the others keep their order. */
  takeFirst(condition: (request: Item) => boolean): Item | undefined {
    let before: Item | undefined;
    for (let request = this.#first; request !== undefined; request = request.next) {
      if (condition(request)) {
        if (before === undefined) return this.shift();
        before.next = request.next;
        if (request.next === undefined) this.#last = before;
        request.next = undefined;
        this.#length -= 1;
        return request;
      }
      before = request;
    }
    return undefined;
  }

  /** Takes out every request that `condition` names, in order; the rest keep theirs. */
  remove(condition: (request: Item) => boolean): Item[] {
    const removed: Item[] = [];
    for (let rest = this.#length; rest > 0; rest -= 1) {
      const request = this.shift()!;
      if (condition(request)) removed.push(request);
      else this.push(request);
    }
    return removed;
  }
}
