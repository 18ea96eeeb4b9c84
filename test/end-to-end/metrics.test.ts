import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, statSync } from 'node:fs';
import { request } from 'node:http';
import { connect } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import { CheckCode } from '../../src/cli/watching/check-devices.ts';
import { assertShape } from '../cli/json-shapes.ts';
import { type Exposition, parseExposition } from '../control/exposition-reader.ts';
import { badGranules, exportUri } from './bad-disk.ts';
import { CountedDisk } from './counted-disk.ts';
import { DeviceLab } from './device-lab.ts';
import { missingTool, mustRunTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(() => endLab(lab));

/** GET of a URL, or of a device's control socket. */
function get(from: string | { readonly socketPath: string }, path = '/metrics'): Promise<[number, string]> {
  return new Promise((resolve, reject) => {
    const options = typeof from === 'string' ? new URL(path, from) : { ...from, path, agent: false };
    const outgoing = request(options, (incoming) => {
      let text = '';
      incoming.setEncoding('utf8').on('data', (piece: string) => {
        text += piece;
      });
      incoming.on('end', () => resolve([incoming.statusCode ?? 0, text]));
    });
    outgoing.on('error', reject).end();
  });
}

/** Passes what promtool has to say about names, types, units and helps. */
function promtoolCheck(text: string): Promise<string> {
  return new Promise((resolve) => {
    const child = execFile('promtool', ['check', 'metrics'], (error, output, errors) =>
      resolve(`${error === null ? '' : 'failed: '}${output}${errors}`),
    );
    child.stdin?.end(text);
  });
}

async function metricsOf(name: string): Promise<Exposition> {
  const [status, text] = await get({ socketPath: join(lab.runtime, name, 'control.sock') });
  assert.equal(status, 200);
  return parseExposition(text);
}

interface FioDirection {
  readonly total_ios: number;
  readonly io_bytes: number;
  readonly lat_ns: { readonly mean: number; readonly max: number };
}

test('what a device says of its traffic is what fio counted before it and the disk behind it', {
  skip: missingTool('fio'),
}, async () => {
  const main = new CountedDisk(lab, { sizeBytes: 64 * mib, logicalBlockBytes: 512 });
  try {
    lab.image('spare.img', 32 * mib);
    await lab.mustRun('create', 'disk', '--main', main.uri, '--spare', 'spare.img');
    const before = { written: main.bytesWritten, flushes: main.flushes };
    const workload = ['--rw=randrw', '--rwmixread=30', '--bs=4k', '--size=8m', '--iodepth=8', '--fsync=64'];
    const report = await mustRunTool(
      'fio',
      ...[
        '--name=a',
        '--ioengine=nbd',
        `--uri=${exportUri(lab, 'disk')}`,
        '--output-format=json',
        ...workload,
      ],
    );
    const { jobs }: { jobs: { read: FioDirection; write: FioDirection; sync: { total_ios: number } }[] } =
      JSON.parse(report.slice(report.indexOf('{')));
    const { read, write, sync } = jobs[0]!;
    const { value } = await metricsOf('disk');
    const of = (name: string, labels = {}): number =>
      value(`dm_remap_${name}`, { device: 'disk', ...labels }) ?? -1;
    for (const [kind, fio] of [['read', read] as const, ['write', write] as const]) {
      assert.equal(of('requests_total', { kind }), fio.total_ios, kind);
      assert.equal(of('request_bytes_total', { kind }), fio.io_bytes, kind);
      assert.equal(of('request_duration_seconds_count', { kind }), fio.total_ios, kind);
      // What fio waits for is what we took, and the way there and back.
      const sum = of('request_duration_seconds_sum', { kind });
      const fioSum = (fio.lat_ns.mean * fio.total_ios) / 1e9;
      assert.ok(sum > 0 && sum <= fioSum, `${kind}: ${sum} s of ${fioSum} s`);
    }
    assert.ok(sync.total_ios > 0);
    assert.equal(of('requests_total', { kind: 'flush' }), sync.total_ios);
    assert.equal(
      of('request_bytes_total', { kind: 'write' }),
      main.bytesWritten - before.written,
      'at the disk',
    );
    assert.ok(main.flushes > before.flushes);
    assert.equal(of('requests_in_flight'), 0);
    assert.equal(of('request_errors_total'), 0);
    const status = JSON.parse(await lab.mustRun('status', 'disk', '--json'));
    assert.equal(status.traffic.latency.read.count, read.total_ios);
    assert.ok(status.traffic.latency.write.longestSeconds <= write.lat_ns.max / 1e9);
    const people = await lab.mustRun('status', 'disk');
    assert.ok(people.includes(`requests  ${read.total_ios} reads (`), people);
    await lab.mustRun('remove', 'disk');
  } finally {
    await main.close();
  }
});

test('bad sectors are told as they are: to Prometheus in four ways, and to Nagios', {
  skip: missingTool('promtool'),
}, async () => {
  const image = lab.image('main.img', 64 * mib);
  const bad = [[1000, 3] as const, [5000, 1] as const, [90_000, 16] as const];
  const table = lab.faultTable('main.table', image, 64 * mib, bad);
  const beforeSeconds = Date.now() / 1000;
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img', '--create-spare', '32M');
  const check = (...words: readonly string[]): ReturnType<DeviceLab['run']> =>
    lab.run('status', 'disk', '--check', ...words);
  const afterSeconds = Date.now() / 1000;
  assert.equal((await check()).exitCode, CheckCode.healthy);

  const client = await lab.connect('disk');
  const granules = badGranules([...bad.slice(0, 2)]);
  for (const granule of granules) await client.write(new Uint8Array(4096).fill(9), granule * 4096);
  const grown = await check();
  assert.equal(grown.exitCode, CheckCode.grew);
  assert.match(
    grown.output,
    new RegExp(`^DM-REMAP WARNING - disk: ${granules.length} granules moved, 0 before`),
  );
  assert.equal((await check('--acknowledge')).exitCode, CheckCode.healthy);

  await client.trim(40 * mib, 3 * mib);
  await client.writeZeroes(50 * mib, 2 * mib);
  await client.flush();
  await client.flush();
  const rude = connect(join(lab.runtime, 'disk', 'nbd.sock'));
  rude.end('GET / HTTP/1.1\r\n\r\n'.repeat(20)).resume();
  await new Promise((resolve) => rude.once('close', resolve));

  await assert.rejects(client.read(new Uint8Array(8192), 90_000 * 512));
  const lost = await check('--json');
  assert.equal(lost.exitCode, CheckCode.lost);
  assertShape('status-check', lost.output);
  const [verdict] = JSON.parse(lost.output).devices;
  assert.deepEqual([verdict.name, verdict.code, verdict.figures.lost], ['disk', CheckCode.lost, 16]);

  const exporter = lab.start('metrics', '--listen', '127.0.0.1:0');
  let url: string | undefined;
  while (url === undefined) {
    assert.equal(exporter.child.exitCode, null, exporter.errors());
    await new Promise((resolve) => setTimeout(resolve, 20));
    url = /serving (\S+)\/metrics/.exec(exporter.output())?.[1];
  }
  const textfile = lab.path('dm-remap.prom');
  await lab.mustRun('metrics', '--textfile', textfile);
  assert.equal(statSync(textfile).mode & 0o777, 0o644);
  const [[, served], [, own]] = [
    await get(url),
    await get({ socketPath: join(lab.runtime, 'disk', 'control.sock') }),
  ];
  const texts = [served, own, readFileSync(textfile, 'utf8'), await lab.mustRun('metrics', 'disk')];
  for (const text of texts) {
    const { value, sum } = parseExposition(text);
    const of = (name: string, labels = {}): number | undefined =>
      value(`dm_remap_${name}`, { device: 'disk', ...labels });
    assert.equal(of('up'), 1);
    assert.equal(of('remapped_granules'), granules.length);
    assert.equal(of('remaps_total'), granules.length);
    assert.equal(of('spare_slots', { state: 'used' }), granules.length);
    assert.equal(of('lost_sectors', { kind: 'unreadable' }), 16);
    assert.equal(of('lost_sectors', { kind: 'gone' }), 0);
    assert.equal(of('requests_total', { kind: 'write' }), granules.length);
    assert.equal(of('request_errors_total'), 1);
    assert.equal(of('connections'), 1);
    assert.deepEqual([of('connections_accepted_total'), of('protocol_errors_total')], [2, 1]);
    assert.deepEqual([of('connections_refused_total'), of('partial_reads_total')], [0, 0]);
    assert.equal(of('requests_total', { kind: 'flush' }), 2);
    assert.equal(of('requests_total', { kind: 'trim' }), 1);
    assert.equal(of('request_bytes_total', { kind: 'trim' }), 3 * mib);
    assert.equal(of('request_bytes_total', { kind: 'write_zeroes' }), 2 * mib);
    assert.equal(of('request_duration_seconds_count', { kind: 'other' }), 2);
    assert.equal(of('size_bytes'), statSync(image).size);
    assert.deepEqual([of('granule_bytes'), of('remapped_sectors')], [4096, 8 * granules.length]);
    assert.deepEqual([of('metadata_replicas'), of('metadata_replicas_valid')], [2, 2]);
    const used = granules.length / (granules.length + of('spare_slots', { state: 'free' })!);
    assert.ok(Math.abs(of('spare_used_ratio')! - used) < 1e-9);
    const started = of('start_time_seconds')!;
    assert.ok(started >= Math.floor(beforeSeconds) && started <= afterSeconds, `${started}`);
    assert.ok(of('health_score')! >= 0 && of('health_score')! < 100, 'sectors are lost');
    assert.equal(of('scrub_state', { state: 'idle' }), 1);
    assert.ok(sum('dm_remap_main_errors_total') >= granules.length + 1);
  }
  assert.equal(await promtoolCheck(served), '');
  assert.match(
    await promtoolCheck(served.replaceAll('remaps_total', 'remaps')),
    /remaps/,
    'the judge judges',
  );
  assert.deepEqual((await get(url, '/x'))[0], 404);

  await lab.kill('disk');
  assert.match((await get(url))[1], /^dm_remap_up\{device="disk"\} 0$/m);
  const dead = await check();
  assert.equal(dead.exitCode, CheckCode.failed);
  assert.match(dead.output, /^DM-REMAP FAILED - disk: its process was killed/);
  exporter.child.kill('SIGTERM');
  assert.equal(await exporter.ended, 0);
  await lab.mustRun('remove', 'disk');
  assert.match((await lab.run('status', '--check')).output, /FAILED - disk: was there at the last check/);
});
