import { node } from 'koffi';

/**
 * Tells once that a descriptor has something to read. `onReadable` runs outside of any JavaScript callback scope: no
 * microtasks run after it and its exceptions reach nobody, so it must only schedule work.
 */
export class ReadableWatch {
  readonly #onReadable: () => void;
  /** A poll handle that is garbage stops silently at the first collection: it lives in this field. */
  #handle: node.PollHandle | undefined;

  /** Makes the descriptor non-blocking, as libuv does. Watches nothing yet. */
  constructor(fd: number, onReadable: () => void) {
    this.#onReadable = onReadable;
    this.#handle = node.poll(fd, { readable: true }, this.#signal);
    this.#handle.stop();
  }

  /** Watches until it was readable once. The event loop looks at the level: a watch that nobody answers would spin. */
  watchOnce(): void {
    this.#handle?.start({ readable: true }, this.#signal);
  }

  /** Before the descriptor is closed. Idempotent. */
  close(): void {
    this.#handle?.close();
    this.#handle = undefined;
  }

  readonly #signal = (): void => {
    this.#handle?.stop();
    this.#onReadable();
  };
}
