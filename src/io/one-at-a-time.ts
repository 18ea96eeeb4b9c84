/** Runs tasks one after the other, in the order of the calls: of a disk that hangs, one thread waits and not all of them. */
export class OneAtATime {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#last.then(task);
    // The next task runs whatever became of this one; its caller has the result.
    this.#last = result.catch(() => undefined);
    return result;
  }
}
