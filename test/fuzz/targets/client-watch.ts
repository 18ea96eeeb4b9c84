import type { Clock } from '../../../src/block/clock.ts';
import { must } from '../engine/fuzz-target.ts';

/** What src/nbd/limits.ts promises, and how often the server looks. Milliseconds. */
const handshakeMs = 30_000;
const stallMs = 120_000;
const lookMs = 5_000;
/** The slowest line that is put up with. */
const bytesPerMs = 65.536;

/**
 * Whether a client must have been dropped by now, and that it never was while it owed nothing. A debt is seen at one look and
 * its end at another; the last look before it may count.
 */
export class ClientWatch {
  readonly #clock: Clock;
  readonly #connectedMs: number;
  #isShaking = true;
  /** A request is begun and not sent to its end. */
  #partSinceMs: number | undefined;
  #partBytes = 0;
  #deafSinceMs: number | undefined;
  /** It may be dropped for not taking replies until then. */
  #wasDeafUntilMs = Number.NEGATIVE_INFINITY;
  #isLeaving = false;
  #hasLeft = false;

  constructor(clock: Clock) {
    this.#clock = clock;
    this.#connectedMs = clock.nowMs();
  }

  /** It has sent less than it must. */
  get owes(): boolean {
    return this.#isShaking || this.#partSinceMs !== undefined;
  }

  get isShaking(): boolean {
    return this.#isShaking;
  }

  /** It has said all, and waits for its answers. */
  get isLeaving(): boolean {
    return this.#isLeaving;
  }

  shaken(): void {
    this.#isShaking = false;
  }

  /** A part of a request is sent; with the header of a write, so many bytes are to follow. */
  begins(payloadBytes: number): void {
    this.#partSinceMs = this.#clock.nowMs();
    this.#partBytes = payloadBytes;
  }

  completes(): void {
    this.#partSinceMs = undefined;
  }

  set isDeaf(isDeaf: boolean) {
    if (isDeaf) this.#deafSinceMs ??= this.#clock.nowMs();
    else if (this.#deafSinceMs !== undefined) {
      this.#wasDeafUntilMs = this.#clock.nowMs();
      this.#deafSinceMs = undefined;
    }
  }

  finishing(): void {
    this.#isLeaving = true;
    this.isDeaf = false;
  }

  clientLeft(): void {
    this.#hasLeft = true;
  }

  serverClosed(): void {
    if (this.#isLeaving || this.#hasLeft) return;
    const nowMs = this.#clock.nowMs();
    const isLateHandshake = this.#isShaking && nowMs - this.#connectedMs >= handshakeMs;
    const isLatePart = this.#partSinceMs !== undefined && nowMs - this.#partSinceMs >= stallMs - lookMs;
    const isDeaf = this.#deafSinceMs !== undefined && nowMs - this.#deafSinceMs >= stallMs - lookMs;
    must(
      isLateHandshake || isLatePart || isDeaf || nowMs === this.#wasDeafUntilMs,
      'a client was dropped that did nothing wrong',
    );
    this.#hasLeft = true;
  }

  /** Now is the end of a step. */
  judge(): void {
    if (this.#hasLeft || this.#isLeaving) return;
    const nowMs = this.#clock.nowMs();
    must(
      !this.#isShaking || nowMs - this.#connectedMs <= handshakeMs + lookMs,
      'a client that does not finish its handshake is not dropped',
    );
    if (this.#partSinceMs === undefined) return;
    const limitMs = stallMs + this.#partBytes / bytesPerMs + 2 * lookMs;
    must(nowMs - this.#partSinceMs <= limitMs, 'a client that does not finish a request is not dropped');
  }
}
