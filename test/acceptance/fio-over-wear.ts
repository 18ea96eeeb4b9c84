import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { exportUri } from '../end-to-end/bad-disk.ts';
import { mustRunTool } from '../end-to-end/foreign-tool.ts';
import type { Wear } from '../end-to-end/worn-device.ts';
import { WornLab } from './worn-lab.ts';

const sectorBytes = 512;
const diskBytesMin = 32 * 1024 * 1024;
/** Sectors wear out this long one after the other: some hundred while fio writes a small disk. */
const wearIntervalMs = 4;

export interface FioOverWearOptions {
  readonly seed: string;
  /** Of each request, and of what each checksum covers. */
  readonly blockBytes: 512 | 4096;
  /** How much of the device fio writes. */
  readonly usedBytes: number;
  readonly wornMax: number;
}

interface FioJob {
  readonly error: number;
  readonly read: { readonly total_ios: number };
  readonly write: { readonly total_ios: number };
}

/**
 * fio writes every block of a device in chance order, each with its own checksum, half by half, and verifies them all, while
 * sectors wear out: any of them for writes, at any time; and for reads too where fio has not yet written. So every byte can
 * be saved, and must be. Gives a line of what happened.
 */
export function fioOverWear(options: FioOverWearOptions): Promise<string> {
  const mainBytes = Math.max(options.usedBytes, diskBytesMin);
  return WornLab.use({ mainBytes, spareBytes: diskBytesMin }, async (worn) => {
    const { blockBytes, usedBytes } = options;
    const wearer = new Wearer(worn, options);
    const half = usedBytes / 2;
    const fio = async (first: number, ...words: readonly string[]): Promise<FioJob> =>
      jobOf(await mustRunTool('fio', ...fioWords(worn, blockBytes, first, half), ...words));

    const expected = half / blockBytes;
    const wrote = [
      await wearer.during(fio(0, '--do_verify=0'), [
        [0, half, 'writes'],
        [half, usedBytes, 'everything'],
      ]),
      await wearer.during(fio(half, '--do_verify=0'), [[0, usedBytes, 'writes']]),
    ];
    for (const job of wrote) assert.deepEqual([job.error, job.write.total_ios], [0, expected]);
    const verify = async (): Promise<void> => {
      for (const first of [0, half]) {
        const job = await wearer.during(fio(first, '--verify_only'), [[0, usedBytes, 'writes']]);
        assert.deepEqual([job.error, job.read.total_ios], [0, expected], 'every block is verified');
      }
    };
    await verify();
    await worn.killAndAssemble();
    await verify();
    assert.equal(await worn.lab.mustRun('message', 'disk', '0', 'lost'), '');
    const moved = await worn.assertMovedAsTouched();
    assert.ok(moved > 20, `only ${moved} blocks met a worn sector`);
    const worns = worn.worn.wornSectors.length;
    return `${2 * expected} blocks of ${blockBytes} written and twice verified, ${worns} sectors wore out, ${moved} blocks moved`;
  });
}

function fioWords(worn: WornLab, blockBytes: number, firstByte: number, sizeBytes: number): string[] {
  return [
    '--name=verify',
    '--ioengine=nbd',
    `--uri=${exportUri(worn.lab, 'disk')}`,
    '--rw=randwrite',
    `--bs=${blockBytes}`,
    '--iodepth=16',
    `--offset=${firstByte}`,
    `--size=${sizeBytes}`,
    '--randseed=21',
    '--verify=crc32c',
    '--verify_fatal=1',
    '--verify_state_save=0',
    '--output-format=json',
  ];
}

function jobOf(output: string): FioJob {
  const report: { jobs: FioJob[] } = JSON.parse(output.slice(output.indexOf('{')));
  return report.jobs[0]!;
}

type WearRange = readonly [firstByte: number, endByte: number, wear: Wear];

/** Lets chance sectors of given ranges wear out, one by one, while something runs. */
class Wearer {
  readonly #worn: WornLab;
  readonly #random: SeededRandom;
  readonly #wornMax: number;

  constructor(worn: WornLab, { seed, wornMax }: FioOverWearOptions) {
    this.#worn = worn;
    this.#random = new SeededRandom(seed);
    this.#wornMax = wornMax;
  }

  async during<Result>(work: Promise<Result>, ranges: readonly WearRange[]): Promise<Result> {
    let isRunning = true;
    const wearing = (async (): Promise<void> => {
      while (isRunning && this.#worn.worn.wornSectors.length < this.#wornMax) {
        for (const [firstByte, endByte, wear] of ranges) {
          const sector = firstByte / sectorBytes + this.#random.below((endByte - firstByte) / sectorBytes);
          if (!this.#worn.worn.wornSectors.includes(sector)) this.#worn.worn.wearOut([sector], wear);
        }
        await sleep(wearIntervalMs);
      }
    })();
    try {
      return await work;
    } finally {
      isRunning = false;
      await wearing;
    }
  }
}
