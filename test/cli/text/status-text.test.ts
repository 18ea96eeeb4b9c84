import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statusLine, statusText } from '../../../src/cli/text/status-text.ts';
import { listText } from '../../../src/cli/verbs/ls.ts';
import { exampleStatus } from '../../control/example-status.ts';

test('the status line is as dmsetup prints it: sectors, target, state, counts', () => {
  assert.equal(
    statusLine(exampleStatus),
    '0 524288 remap /dev/sdb /srv/spare.img ok 3/4096 lost 3 replicas 2/3',
  );
});

test('the status for people names everything that needs attention', () => {
  const text = statusText(exampleStatus);
  assert.match(text, /^disk: serving, failing\n/);
  for (const part of [
    '/dev/sdb (ST1000 W123), 256 MiB, direct, its cache is used until a sector fails',
    '/srv/spare.img, 32 MiB, buffered',
    '3 granules of 4 KiB (20 sectors)',
    '4092 of 4096 free, 1 retired',
    '2 sectors unreadable, 1 gone',
    '7 sectors main cannot read were never written: zeros',
    'health    failing: 1 sector gone; 3 blocks moved to the spare',
    '256 MiB (524288 sectors), blocks of 512 bytes, 4 KiB on the disks',
    '2 of 3 replicas valid',
    'export    nbd+unix:///?socket=/run/dm-remap/disk/nbd.sock\n',
    'clients   2 connections, 5 requests in flight',
    'requests  10 reads (40 KiB), 20 writes (80 KiB), 1 flush, 6 failed\n',
    'took      read 80 µs (p99 229 ms), write 224 µs (p99 134 s), flush 10 ms (p99 10 ms)\n',
    'policies  on-lost zero, salvage off',
    '1 of 3 replicas was repaired',
  ]) {
    assert.ok(text.includes(part), `${part} in\n${text}`);
  }
});

test('the list has one row a device under its head, in columns', () => {
  const dead = {
    name: 'b',
    state: 'dead',
    pid: null,
    health: '-',
    sizeBytes: null,
    remapped: null,
    attached: '-',
    export: '-',
  };
  const live = {
    ...dead,
    name: 'long-name',
    state: 'serving',
    pid: 7,
    health: 'ok',
    sizeBytes: 1_048_576,
    remapped: 2,
    attached: '/dev/loop3',
  };
  const lines = listText([dead, live]).split('\n');
  assert.equal(lines.length, 3);
  assert.match(lines[0]!, /^NAME +STATE +HEALTH +SIZE +REMAPPED +PID +ATTACHED +EXPORT$/);
  assert.match(lines[1]!, /^b +dead +- +- +- +- +- +-$/);
  assert.match(lines[2]!, /^long-name +serving +ok +1 MiB +2 +7 +\/dev\/loop3 +-$/);
  const column = lines[0]!.indexOf('STATE');
  assert.deepEqual([lines[1]!.indexOf('dead'), lines[2]!.indexOf('serving')], [column, column]);
});
