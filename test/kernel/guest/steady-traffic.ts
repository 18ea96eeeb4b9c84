import assert from 'node:assert/strict';
import type { FileDevice } from '../../../src/io/file-device.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { fillSectors } from '../../end-to-end/sector-versions.ts';
import { sectorBytes } from './block-lab.ts';
import { until } from './nbd-attachment.ts';

const writersAtOnce = 8;
const blockSectors = 8;

export interface TrafficArea {
  readonly firstSector: number;
  readonly sectorCount: number;
}

/**
 * Writers that read back and compare whatever they have written, each in blocks of its own, until they are told to stop. Unlike
 * a run of fio it lasts as long as what it is there for.
 */
export class SteadyTraffic {
  readonly #device: FileDevice;
  readonly #area: TrafficArea;
  readonly #done: Promise<unknown>;
  #isStopped = false;
  #failure: unknown;
  #blocks = 0;
  #slowestMs = 0;

  constructor(device: FileDevice, area: TrafficArea) {
    this.#device = device;
    this.#area = area;
    this.#done = Promise.all(
      Array.from({ length: writersAtOnce }, (_, index) =>
        this.#writer(index).catch((error: unknown) => {
          this.#failure ??= error;
        }),
      ),
    );
  }

  /** Written and compared, so far. */
  get blocks(): number {
    return this.#blocks;
  }

  get slowestMs(): number {
    return this.#slowestMs;
  }

  /** So many more blocks. Fails the test as soon as a request does. */
  async until(blocks: number): Promise<void> {
    const end = this.#blocks + blocks;
    await until(() => this.#blocks >= end || this.#failure !== undefined, 'there is no traffic');
    this.#assertWell();
  }

  async stop(): Promise<void> {
    this.#isStopped = true;
    await this.#done;
    this.#assertWell();
  }

  #assertWell(): void {
    assert.equal(this.#failure, undefined, 'no request may fail');
  }

  async #writer(index: number): Promise<void> {
    const random = new SeededRandom(`traffic ${index}`);
    const { firstSector, sectorCount } = this.#area;
    const blocks = Math.floor(sectorCount / (blockSectors * writersAtOnce));
    const [written, read] = [
      new Uint32Array((blockSectors * sectorBytes) / 4),
      new Uint32Array((blockSectors * sectorBytes) / 4),
    ];
    for (let version = 1; !this.#isStopped && this.#failure === undefined; version += 1) {
      const sector = firstSector + (random.below(blocks) * writersAtOnce + index) * blockSectors;
      fillSectors(written, sector, version);
      const startMs = performance.now();
      await this.#device.write(new Uint8Array(written.buffer), sector * sectorBytes);
      const writtenMs = performance.now();
      await this.#device.read(new Uint8Array(read.buffer), sector * sectorBytes);
      assert.deepEqual(read, written, `sector ${sector}`);
      this.#slowestMs = Math.max(this.#slowestMs, writtenMs - startMs, performance.now() - writtenMs);
      this.#blocks += 1;
    }
  }
}
