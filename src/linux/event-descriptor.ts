import { node } from 'koffi';
import { bindLibc, checkedResult } from './system-call.ts';

/** linux/include/uapi/linux/eventfd.h: O_CLOEXEC and O_NONBLOCK of asm-generic/fcntl.h. */
const EFD_CLOEXEC = 0o2000000;
const EFD_NONBLOCK = 0o4000;

const eventfd = bindLibc<(initial: number, flags: number) => number>('eventfd', 'int', ['uint', 'int']);
const readDescriptor = bindLibc<(fd: number, target: Uint8Array, length: number) => number>(
  'read',
  'intptr_t',
  ['int', 'void *', 'size_t'],
);
const closeDescriptor = bindLibc<(fd: number) => number>('close', 'int', ['int']);

/**
 * An eventfd that Node's event loop watches. `onSignal` runs outside of any JavaScript callback scope: no microtasks
 * run after it and its exceptions reach nobody, so it must only schedule work.
 */
export class EventDescriptor {
  readonly fd: number;
  /**
   * A poll handle that is garbage stops silently at the first collection: it lives in this field. Its callback is
   * `(status, events)`; the types shipped with koffi 3.3.4 say `(events)`. We need neither.
   */
  #handle: node.PollHandle | undefined;
  readonly #counter: Uint8Array = new Uint8Array(8);

  constructor(onSignal: () => void) {
    this.fd = checkedResult('eventfd', eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    this.#handle = node.poll(this.fd, { readable: true }, () => {
      this.#drain();
      onSignal();
    });
  }

  close(): void {
    if (this.#handle === undefined) return;
    this.#handle.close();
    this.#handle = undefined;
    closeDescriptor(this.fd);
  }

  /** The event loop looks at the level, not at the edge: an undrained counter would wake it for ever. */
  #drain(): void {
    if (this.#handle !== undefined) readDescriptor(this.fd, this.#counter, this.#counter.length);
  }
}
