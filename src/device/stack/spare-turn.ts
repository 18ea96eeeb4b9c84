import { MessageError } from '../../remap/message/message-error.ts';

/** One spare at a time is replaced, added or removed. */
export class SpareTurn {
  #taken: string | undefined;

  /** Throws `MessageError` while another command has it. */
  take(what: string): void {
    if (this.#taken !== undefined)
      throw new MessageError('MESSAGE_FAILED', `${what}: '${this.#taken}' is under way`);
    this.#taken = what;
  }

  release(): void {
    this.#taken = undefined;
  }
}
