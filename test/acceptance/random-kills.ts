import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { SpareRange } from '../../src/metadata/layout.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { exportUri } from '../end-to-end/bad-disk.ts';
import { DyingDisk } from '../end-to-end/dying-disk.ts';
import { mustRunTool, runTool } from '../end-to-end/foreign-tool.ts';
import { assertFioBlocks } from './fio-blocks.ts';
import { destroyReplica, replicaRanges } from './spare-replicas.ts';
import { WornLab } from './worn-lab.ts';

const mebibyte = 1024 * 1024;
const sectorBytes = 512;
const mainBytes = 64 * mebibyte;
const spareBytes = 48 * mebibyte;
/** Of the writers that know the version of each sector; fio has the rest up to twice of it. */
const ownBytes = 8 * mebibyte;
const clients = 2;
const writersPerClient = 12;
const readersPerClient = 4;
/** The kill comes after so many acknowledged writes of a round: a busy machine takes its time for them. */
const writesMin = 20;
const writesMax = 1500;
const trafficMsMax = 60_000;
/** In each round, for each of the two. */
const wornPerRound = 8;
const wearIntervalMs = 5;

export interface RandomKillsOptions {
  readonly rounds: number;
  readonly seed: string;
  /** Called after each round. */
  readonly onRound?: (round: number) => void;
}

/**
 * SIGKILL at chance moments: own clients write, FUA some of them, and read back versions that they know; beside them fio
 * writes sectors with checksums over old ones (sectors, because a disk may store a part of a write that it fails); sectors
 * wear out under both. While nobody serves, one replica of the metadata is destroyed, another each time. Then the device is
 * assembled, must say that it rewrote that replica, and every sector of both is verified. Gives a line of what happened.
 */
export function randomKills(options: RandomKillsOptions): Promise<string> {
  return WornLab.use({ mainBytes, spareBytes }, async (worn) => {
    const kills = new RandomKills(worn, options);
    return await kills.all();
  });
}

class RandomKills {
  readonly #worn: WornLab;
  readonly #options: RandomKillsOptions;
  readonly #random: SeededRandom;
  readonly #own: DyingDisk;
  readonly #replicas: readonly (readonly SpareRange[])[];
  #fioWritten = 0;

  constructor(worn: WornLab, options: RandomKillsOptions) {
    this.#worn = worn;
    this.#options = options;
    this.#random = new SeededRandom(options.seed);
    this.#own = new DyingDisk(this.#random.fork('own'), ownBytes / sectorBytes, async (sector) => {
      worn.worn.wearOut([sector], 'everything');
    });
    this.#replicas = replicaRanges(spareBytes, mainBytes);
  }

  async all(): Promise<string> {
    // What fio's checksums are compared with from the first kill on.
    await mustRunTool('fio', ...this.#fioWords(0));
    for (let round = 1; round <= this.#options.rounds; round += 1) {
      await this.#trafficUntilKilled(round);
      await destroyReplica(this.#worn.lab.path('spare.img'), this.#replicas[round % this.#replicas.length]!);
      await this.#assemble(round % this.#replicas.length);
      await this.#verify();
      this.#options.onRound?.(round);
    }
    const moved = await this.#worn.assertNothingElseMoved();
    assert.ok(moved > 0 && this.#fioWritten > 0, `${moved} blocks moved, fio wrote ${this.#fioWritten}`);
    const { written, readBack, lost } = this.#own;
    return (
      `${this.#options.rounds} kills: ${written} own writes acknowledged, ${readBack} read back meanwhile, ` +
      `${this.#fioWritten} written by fio, ${this.#worn.worn.wornSectors.length} sectors wore out, ${moved} blocks moved; ` +
      `every sector verified after each, ${lost} unreadable at the end, all written before they wore out; ` +
      `${this.#options.rounds} replicas rewritten`
    );
  }

  async #trafficUntilKilled(round: number): Promise<void> {
    const own = this.#own;
    own.alive = true;
    const fio = runTool('fio', ...this.#fioWords(round));
    const traffic: Promise<unknown>[] = [own.grow(wearIntervalMs, wornPerRound), this.#wearUnderFio()];
    for (let index = 0; index < clients; index += 1) {
      const client = await this.#worn.lab.connect('disk');
      for (let writer = 0; writer < writersPerClient; writer += 1) traffic.push(own.write(client));
      for (let reader = 0; reader < readersPerClient; reader += 1) traffic.push(own.read(client));
    }
    await Promise.race([this.#untilWritten(), Promise.all(traffic)]);
    own.alive = false;
    await this.#worn.lab.kill('disk');
    await Promise.all(traffic);
    const { output } = await fio;
    assert.doesNotMatch(
      output,
      /error=(?:Input\/output|No space)/,
      'no write failed while there was a device',
    );
    const report = /"write" : \{[^{}]*?"total_ios" : (\d+)/s.exec(output);
    this.#fioWritten += Number(report?.[1] ?? 0);
  }

  async #untilWritten(): Promise<void> {
    const wanted = this.#own.written + writesMin + this.#random.below(writesMax - writesMin);
    const endMs = performance.now() + trafficMsMax;
    while (this.#own.written < wanted) {
      assert.ok(performance.now() < endMs, `only ${this.#own.written} writes of ${wanted}`);
      await sleep(1);
    }
  }

  /** Reads of what fio wrote must stay possible: it does not know which of its blocks were written before. */
  async #wearUnderFio(): Promise<void> {
    for (let count = 0; this.#own.alive && count < wornPerRound; count += 1) {
      const sector = (ownBytes + this.#random.below(ownBytes)) / sectorBytes;
      this.#worn.worn.wearOut([Math.floor(sector)], 'writes');
      await sleep(wearIntervalMs);
    }
  }

  async #assemble(destroyed: number): Promise<void> {
    const said = await this.#worn.assemble();
    assert.match(said, new RegExp(`metadata replica ${destroyed} was [a-z -]+ and was rewritten`), said);
    const status: { remap: { replicasValid: number; replicasTotal: number } } = JSON.parse(
      await this.#worn.lab.mustRun('status', 'disk', '--json'),
    );
    const { replicasValid, replicasTotal } = status.remap;
    assert.deepEqual([replicasValid, replicasTotal], [this.#replicas.length, this.#replicas.length], 'I25');
  }

  async #verify(): Promise<void> {
    const reader = await this.#worn.lab.connect('disk');
    await this.#own.settle(reader);
    // Old or new, whichever was there when it ended; each sector is whole, and at its own place.
    const bytes = Buffer.alloc(mebibyte);
    for (let offset = ownBytes; offset < 2 * ownBytes; offset += bytes.length) {
      await reader.read(bytes, offset);
      assertFioBlocks(bytes, offset, sectorBytes);
    }
    await reader.disconnect();
  }

  #fioWords(seed: number): string[] {
    return [
      '--name=kills',
      '--ioengine=nbd',
      `--uri=${exportUri(this.#worn.lab, 'disk')}`,
      '--rw=randwrite',
      '--do_verify=0',
      `--randseed=${seed}`,
      `--bs=${sectorBytes}`,
      '--iodepth=16',
      `--offset=${ownBytes}`,
      `--size=${ownBytes}`,
      '--verify=crc32c',
      '--verify_state_save=0',
      '--output-format=json',
    ];
  }
}
