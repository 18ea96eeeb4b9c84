import assert from 'node:assert/strict';
import { PagedArena } from '../../src/block/buffer-arena.ts';
import { MemoryDevice } from '../../src/block/memory-device.ts';
import { RealClock } from '../../src/io/real-clock.ts';
import { MetadataError, MetadataStore } from '../../src/metadata/metadata-store.ts';
import { openRemapDevice } from '../../src/remap/open-remap.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { fillSectors } from '../end-to-end/sector-versions.ts';
import { WornDevice } from '../end-to-end/worn-device.ts';
import { loggedBadSectors, loggedMainBytes, loggedSpareBytes } from './logged-run.ts';
import { LogFlag, readWriteLog } from './write-log.ts';

const sectorBytes = 512;
const mebibyte = 1024 * 1024;

export interface ReplayReport {
  readonly entries: number;
  /** States behind a flush, behind a write with FUA, and behind a mark. */
  readonly flushes: number;
  readonly fuaWrites: number;
  readonly marks: number;
  /** Of all states: those that were opened, and how many acknowledged sectors were read in them together. */
  readonly opened: number;
  readonly sectorsRead: number;
}

/**
 * The spare as it is after each write that became durable, opened each time as after a power cut: everything acknowledged until
 * then is there, whole, or a later version that was on its way. Before the device is created opening may refuse, with a reason.
 */
export async function replayRemaps(logPath: string, badCount: number): Promise<ReplayReport> {
  const replay = new Replay(badCount);
  for await (const { offset, flags, data, text } of readWriteLog(logPath)) {
    replay.image.set(data, offset);
    replay.note(flags, text);
    await replay.openState();
  }
  return replay.report();
}

class Replay {
  readonly image = new Uint8Array(loggedSpareBytes);
  readonly #acknowledged = new Map<number, number>();
  readonly #main = new WornDevice(new MemoryDevice({ name: 'main', sizeBytes: loggedMainBytes }));
  readonly #spare = new MemoryDevice({ name: 'spare', sizeBytes: loggedSpareBytes });
  readonly #arena = new PagedArena(new ArrayBuffer(16 * mebibyte), {
    remapBytes: 4 * mebibyte,
    metadataBytes: 8 * mebibyte,
  });
  readonly #clock = new RealClock();
  readonly #random = new SeededRandom('replay');
  #isCreated = false;
  #isComplete = false;
  #entries = 0;
  #flushes = 0;
  #fuaWrites = 0;
  #marks = 0;
  #opened = 0;
  #sectorsRead = 0;

  constructor(badCount: number) {
    this.#main.wearOut(loggedBadSectors(badCount), 'everything');
  }

  note(flags: number, text: string): void {
    this.#entries += 1;
    if ((flags & LogFlag.flush) !== 0) this.#flushes += 1;
    if ((flags & LogFlag.fua) !== 0) this.#fuaWrites += 1;
    if ((flags & LogFlag.mark) === 0) return;
    const [word, sector, version] = text.split(':');
    // The kernel's own, when the log is closed.
    if (word === 'dm-log-writes-end') this.#isComplete = true;
    else this.#marks += 1;
    if (word === 'created') this.#isCreated = true;
    if (word === 'acknowledged') this.#acknowledged.set(Number(sector), Number(version));
  }

  async openState(): Promise<void> {
    this.#spare.bytes.set(this.image);
    const parts = { spare: this.#spare, arena: this.#arena, clock: this.#clock, random: this.#random };
    const metadata = await MetadataStore.open(parts).catch((error: unknown) => {
      assert.ok(
        error instanceof MetadataError && !this.#isCreated,
        `entry ${this.#entries}: ${String(error)}`,
      );
      return undefined;
    });
    if (metadata === undefined) return;
    const device = await openRemapDevice({ ...parts, main: this.#main, metadata });
    this.#opened += 1;
    const words = new Uint32Array(sectorBytes / 4);
    const wanted = new Uint32Array(sectorBytes / 4);
    for (const [sector, version] of this.#acknowledged) {
      await device.read(new Uint8Array(words.buffer), sector * sectorBytes);
      fillSectors(wanted, sector, words[1]!);
      assert.deepEqual(words, wanted, `entry ${this.#entries}: sector ${sector} is whole`);
      assert.ok(
        words[1]! === version || words[1]! === version + 1,
        `entry ${this.#entries}: sector ${sector} holds ${words[1]}, acknowledged was ${version}`,
      );
      this.#sectorsRead += 1;
    }
    await device.close();
    assert.equal(this.#arena.usedBytes, 0);
  }

  report(): ReplayReport {
    assert.ok(this.#isComplete, 'the log is whole');
    return {
      entries: this.#entries,
      flushes: this.#flushes,
      fuaWrites: this.#fuaWrites,
      marks: this.#marks,
      opened: this.#opened,
      sectorsRead: this.#sectorsRead,
    };
  }
}
