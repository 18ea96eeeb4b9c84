/** How long at least one part of a request has waited for somebody else: its own budget does not pay for that. */
export class WaitedTime {
  #parts = 0;
  #sinceMs = 0;
  #totalMs = 0;

  /** Milliseconds, ended waits only. */
  get totalMs(): number {
    return this.#totalMs;
  }

  begin(nowMs: number): void {
    if (this.#parts === 0) this.#sinceMs = nowMs;
    this.#parts += 1;
  }

  end(nowMs: number): void {
    this.#parts -= 1;
    if (this.#parts === 0) this.#totalMs += nowMs - this.#sinceMs;
  }
}
