import assert from 'node:assert/strict';
import { test } from 'node:test';
import { statusCsvHead, statusCsvLine } from '../../../src/cli/text/status-csv.ts';
import { exampleStatus } from '../../control/example-status.ts';

test('a line has a cell for every name of the head, with and without the time', () => {
  const names = statusCsvHead(false).split(',');
  const cells = statusCsvLine(exampleStatus).split(',');
  assert.equal(cells.length, names.length);
  const row = Object.fromEntries(names.map((name, at) => [name, cells[at]]));
  assert.deepEqual(
    [row['name'], row['sizeBytes'], row['freshZeroSectors'], row['lostReads'], row['sparePath']],
    ['disk', '268435456', '7', '0', '/srv/spare.img'],
  );
  assert.equal(statusCsvHead(true), `unixMs,${statusCsvHead(false)}`);
  assert.equal(statusCsvLine(exampleStatus, 5), `5,${statusCsvLine(exampleStatus)}`);
});

test('the columns are for ever: new ones come at the end', () => {
  assert.match(
    statusCsvHead(false),
    /^name,state,health,remapState,sizeBytes,granuleBytes,remappedGranules,.*,pid,startedUnixSeconds/,
  );
});

test('RFC 4180: a comma, a quote or a line end in a path stays in its cell', () => {
  const main = { ...exampleStatus.main, path: '/mnt/a,"b"\n.img' };
  assert.ok(statusCsvLine({ ...exampleStatus, main }).includes(',"/mnt/a,""b""\n.img",'));
});

test('a device without its spare has an empty cell for it', () => {
  const names = statusCsvHead(false).split(',');
  const cells = statusCsvLine({ ...exampleStatus, spare: null }).split(',');
  assert.equal(cells[names.indexOf('sparePath')], '');
});
