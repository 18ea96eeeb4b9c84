import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { exportUri, remapCount, spreadBadSectors } from '../end-to-end/bad-disk.ts';
import { DeviceLab } from '../end-to-end/device-lab.ts';
import { runLongTool } from '../end-to-end/foreign-tool.ts';
import { assertNothingLeftOver } from '../end-to-end/nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const kibibyte = 1024;
const mainBytes = 256 * mebibyte;
const badCount = 500;
const sampleIntervalMs = 1000;

export interface MemorySoakOptions {
  readonly seconds: number;
  /** Samples before this do not count: what is compiled and allocated once has been by then. */
  readonly settleSeconds: number;
  readonly seed: string;
}

/** Resident memory of the device's process, all threads, at a moment. */
interface Sample {
  readonly seconds: number;
  readonly bytes: number;
}

/**
 * I10: fio reads and writes at random with 64 requests at a time over a disk with bad sectors. Gives a line with the slope of
 * resident memory by least squares, and fails above `slopeBytesMax` in ten minutes.
 */
export async function memorySoak(options: MemorySoakOptions, slopeBytesMax: number): Promise<string> {
  const lab = new DeviceLab();
  try {
    const bad = spreadBadSectors(options.seed, badCount, 0, mainBytes / 512);
    const table = lab.faultTable('main.table', lab.image('main.img', mainBytes), mainBytes, bad);
    lab.image('spare.img', 64 * mebibyte);
    await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img', '--fresh');
    const samples: Sample[] = [];
    const words = fioWords(exportUri(lab, 'disk'), options.seconds);
    const fio = runLongTool((options.seconds + 60) * 1000, 'fio', ...words);
    await Promise.race([sampleUntil(lab.identity('disk').pid, options.seconds, samples), fio]);
    const { status, output } = await fio;
    assert.equal(status, 0, output);
    const done = jobOf(output);
    assert.equal(done.error, 0);
    assert.ok((await remapCount(lab, 'disk')) > badCount / 2, 'bad sectors were met');
    await lab.mustRun('remove', 'disk');
    assertNothingLeftOver(lab.folder);
    return judge(samples, done.read.total_ios + done.write.total_ios, options, slopeBytesMax);
  } finally {
    await lab.close();
  }
}

function judge(
  samples: readonly Sample[],
  requests: number,
  { settleSeconds }: MemorySoakOptions,
  slopeBytesMax: number,
): string {
  const settled = samples.filter(({ seconds }) => seconds >= settleSeconds);
  assert.ok(settled.length >= 10, `only ${settled.length} samples`);
  const slope = leastSquaresSlope(settled) * 600;
  const resident = settled.map(({ bytes }) => bytes);
  const [least, most] = [Math.min(...resident), Math.max(...resident)].map(mebibytes);
  const line =
    `${requests} requests, 64 at a time; resident ${least} to ${most} MiB after ${settleSeconds} s, ` +
    `slope ${(slope / kibibyte).toFixed(0)} KiB in 10 minutes over ${settled.length} samples`;
  assert.ok(slope <= slopeBytesMax, line);
  return line;
}

function mebibytes(bytes: number): string {
  return (bytes / mebibyte).toFixed(1);
}

/** Bytes a second. */
export function leastSquaresSlope(samples: readonly Sample[]): number {
  const meanSeconds = mean(samples.map(({ seconds }) => seconds));
  const meanBytes = mean(samples.map(({ bytes }) => bytes));
  let covariance = 0;
  let variance = 0;
  for (const { seconds, bytes } of samples) {
    covariance += (seconds - meanSeconds) * (bytes - meanBytes);
    variance += (seconds - meanSeconds) ** 2;
  }
  return covariance / variance;
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

async function sampleUntil(pid: number, seconds: number, samples: Sample[]): Promise<void> {
  const startMs = performance.now();
  for (;;) {
    const passed = (performance.now() - startMs) / 1000;
    if (passed > seconds) return;
    samples.push({ seconds: passed, bytes: residentBytes(pid) });
    await sleep(sampleIntervalMs);
  }
}

function residentBytes(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  assert.ok(match !== null, 'the process is there');
  return Number(match[1]) * kibibyte;
}

function fioWords(uri: string, seconds: number): string[] {
  return [
    '--name=soak',
    '--ioengine=nbd',
    `--uri=${uri}`,
    '--rw=randrw',
    '--bs=4k',
    '--iodepth=64',
    `--size=${mainBytes}`,
    '--time_based',
    `--runtime=${seconds}`,
    '--randrepeat=0',
    '--output-format=json',
  ];
}

interface FioJob {
  readonly error: number;
  readonly read: { readonly total_ios: number };
  readonly write: { readonly total_ios: number };
}

function jobOf(output: string): FioJob {
  const report: { jobs: FioJob[] } = JSON.parse(output.slice(output.indexOf('{')));
  return report.jobs[0]!;
}
