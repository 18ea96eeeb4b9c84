import { type ChildProcess, spawn } from 'node:child_process';
import { setTimeout as sleep } from 'node:timers/promises';

const outputLettersMax = 1_000_000;
const endMsMax = 5000;

export interface FioFigures {
  readonly reads: number;
  readonly writes: number;
}

export interface FioRegion {
  readonly offset: number;
  readonly size: number;
}

export interface FioLoadOptions extends FioRegion {
  readonly uri: string;
  readonly seed: number;
  readonly seconds: number;
}

/** Every 512 bytes that fio writes carry a header with their place and checksums. */
const verifiable = [
  '--name=soak',
  // As a process of its own the job would outlive a SIGKILL of fio.
  '--thread',
  '--ioengine=nbd',
  '--verify=crc32c',
  '--verify_interval=512',
  '--do_verify=0',
  '--verify_state_save=0',
  '--output-format=json',
];

/** Writes all of the region once, so that there is something to verify. */
export function fioFillWords(uri: string, { offset, size }: FioRegion): string[] {
  return [
    ...verifiable,
    `--uri=${uri}`,
    '--rw=write',
    '--bs=128k',
    '--iodepth=8',
    `--offset=${offset}`,
    `--size=${size}`,
  ];
}

/**
 * fio that reads and writes blocks of mixed sizes at random until it is told to end. Reads of lost sectors may fail; a write that
 * fails ends it.
 */
export class FioLoad {
  /** Resolves when it is over, rejects when it could not be started. */
  readonly ended: Promise<void>;
  readonly #child: ChildProcess;
  #output = '';
  #hasEnded = false;

  constructor({ uri, offset, size, seed, seconds }: FioLoadOptions) {
    const words = [
      ...verifiable,
      `--uri=${uri}`,
      '--rw=randrw',
      '--bssplit=512/15:4k/45:16k/25:64k/15',
      '--norandommap=1',
      '--iodepth=8',
      // Not --rate_iops: with the nbd engine of fio 3.33 a rate of 60 gives 4 requests a second.
      '--thinktime=30000',
      '--thinktime_blocks=4',
      '--continue_on_error=read',
      '--time_based',
      `--runtime=${Math.ceil(seconds)}`,
      `--randseed=${seed}`,
      `--offset=${offset}`,
      `--size=${size}`,
    ];
    this.#child = spawn('fio', words, { stdio: ['ignore', 'pipe', 'pipe'] });
    for (const stream of [this.#child.stdout!, this.#child.stderr!]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        this.#output = (this.#output + text).slice(-outputLettersMax);
      });
    }
    this.ended = new Promise((resolve, reject) => {
      this.#child.on('error', reject);
      this.#child.on('close', () => {
        this.#hasEnded = true;
        resolve();
      });
    });
    // Whoever waits is told; until then nobody may.
    this.ended.catch(() => undefined);
  }

  get hasEnded(): boolean {
    return this.#hasEnded;
  }

  /** Once it has ended; zeros when it had to be killed. */
  get figures(): FioFigures {
    return { reads: totalOf(this.#output, 'read'), writes: totalOf(this.#output, 'write') };
  }

  /** What was said lately, for a complaint. */
  get lastWords(): string {
    return this.#output.slice(-600);
  }

  async end(): Promise<void> {
    if (!this.#hasEnded) this.#child.kill('SIGINT');
    const inTime = new AbortController();
    const overdue = sleep(endMsMax, undefined, { signal: inTime.signal }).then(
      () => this.#child.kill('SIGKILL'),
      () => undefined,
    );
    await this.ended;
    inTime.abort();
    await overdue;
  }
}

function totalOf(output: string, direction: string): number {
  const report = new RegExp(`"${direction}" : \\{[^{}]*?"total_ios" : (\\d+)`, 's').exec(output);
  return Number(report?.[1] ?? 0);
}
