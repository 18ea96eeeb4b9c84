import process from 'node:process';
import { MemoryDevice, type MemoryDeviceOptions } from '../../src/block/memory-device.ts';
import { createDataPlane, type DataPlane } from '../../src/io/data-plane.ts';
import { NbdCounter } from '../../src/nbd/counters.ts';
import { NbdServer } from '../../src/nbd/server.ts';
import type { DeviceLab } from './device-lab.ts';

const mebibyte = 1024 * 1024;

/** A main in this process's memory, over NBD: what arrives at it is counted here, by nobody who sent it. */
export class CountedDisk {
  readonly device: MemoryDevice;
  readonly uri: string;
  readonly #plane: DataPlane;
  readonly #server: NbdServer;

  constructor(lab: DeviceLab, options: MemoryDeviceOptions) {
    this.device = new MemoryDevice(options);
    this.#plane = createDataPlane({
      arenaBytes: 24 * mebibyte,
      remapBytes: mebibyte,
      metadataBytes: mebibyte,
    });
    const socket = lab.path(`counted-${process.pid}.sock`);
    this.#server = new NbdServer({
      exports: [{ name: 'main', device: this.device }],
      arena: this.#plane.arena,
      clock: this.#plane.clock,
      limits: { connectionsMax: 4 },
    });
    this.#server.listen(this.#plane.listenUnix(socket));
    this.uri = `nbd+unix:///main?socket=${socket}`;
  }

  get flushes(): number {
    return this.#server.counters[NbdCounter.flushes]!;
  }

  /** Bytes that were zeroed or discarded without being sent. */
  get bytesZeroed(): number {
    return this.#server.counters[NbdCounter.bytesZeroed]! + this.#server.counters[NbdCounter.bytesTrimmed]!;
  }

  get bytesRead(): number {
    return this.#server.counters[NbdCounter.bytesRead]!;
  }

  get bytesWritten(): number {
    return this.#server.counters[NbdCounter.bytesWritten]!;
  }

  async close(): Promise<void> {
    await this.#server.close(1_000);
    await this.#plane.close();
  }
}
