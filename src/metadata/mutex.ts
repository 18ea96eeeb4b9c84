/** Runs one task after the other, in the order of the calls. */
export class Mutex {
  #last: Promise<unknown> = Promise.resolve();

  run<T>(task: () => Promise<T>): Promise<T> {
    const result = this.#last.then(task);
    // The next task runs whatever became of this one; its caller has the result.
    this.#last = result.catch(() => {});
    return result;
  }
}
