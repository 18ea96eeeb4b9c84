import { Worker } from 'node:worker_threads';

export const inputRoomBytes = 65_536;
const nameRoomBytes = 64;

/** What two threads share: executions begun and ended, and what is executed. */
export interface SharedExecution {
  readonly counts: Int32Array;
  readonly nameBytes: Uint8Array;
  readonly inputBytes: Uint8Array;
}

/** Begun, ended, bytes of the name, bytes of the input. */
export const Count = { begun: 0, ended: 1, nameBytes: 2, inputBytes: 3 } as const;

/** Another thread that ends the process when an execution does not end: a loop in this one keeps every timer waiting. */
export class HangWatch {
  readonly #shared: SharedExecution = {
    counts: new Int32Array(new SharedArrayBuffer(16)),
    nameBytes: new Uint8Array(new SharedArrayBuffer(nameRoomBytes)),
    inputBytes: new Uint8Array(new SharedArrayBuffer(inputRoomBytes)),
  };
  readonly #thread: Worker;

  /** `directory` is where the input is left that hangs. */
  constructor(directory: string) {
    this.#thread = new Worker(new URL('./hang-watch-thread.js', import.meta.url), {
      workerData: { ...this.#shared, directory },
    });
    this.#thread.unref();
  }

  begin(name: string, input: Buffer): void {
    const { counts, nameBytes, inputBytes } = this.#shared;
    const nameLength = new TextEncoder().encodeInto(name, nameBytes).written;
    inputBytes.set(input.subarray(0, inputRoomBytes));
    counts[Count.nameBytes] = nameLength;
    counts[Count.inputBytes] = Math.min(input.length, inputRoomBytes);
    Atomics.add(counts, Count.begun, 1);
  }

  end(): void {
    Atomics.add(this.#shared.counts, Count.ended, 1);
  }

  async stop(): Promise<void> {
    await this.#thread.terminate();
  }
}
