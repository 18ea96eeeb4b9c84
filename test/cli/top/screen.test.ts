import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { mapCellsOf, screenLines } from '../../../src/cli/top/screen.ts';
import { fittedLine, plainText, screenText, span } from '../../../src/cli/top/span.ts';
import { exampleStatus } from '../../control/example-status.ts';
import { exampleMap, exampleView, viewOf } from './views.ts';

const screen = { columns: 80, rows: 24 };

function shown(...args: Parameters<typeof screenLines>): string[] {
  return screenLines(...args).map(plainText);
}

test('one device is shown with its state, disks, spare, lost sectors, figures, map and keys', () => {
  assert.deepEqual(shown(viewOf([exampleView({ map: exampleMap })]), screen), [
    'dm-remap top  every 2 s  14:05:09 UTC',
    '',
    'disk: serving, failing: 1 sector gone; 3 blocks moved to the spare',
    '  main      /dev/sdb (ST1000 W123), 256 MiB',
    '  spare     /srv/spare.img, 32 MiB',
    '  slots     [------------------------] 0 %  4092 of 4096 free, 1 retired',
    '  sectors   20 moved, 2 unreadable, 1 gone, 7 bad and never written',
    '  score     39 of 100: sectors are lost with the spare: restore the files',
    '  scrub     [######------------------] running, 25 % (64 MiB of 256 MiB), 100 M…',
    '  clients   2 connected, 5 requests in flight, 2 requests have no answer, the o…',
    '            requests/s       bytes/s    median   99 of 100',
    '  read              50     200 KiB/s    1.0 ms      1.0 ms',
    '  write            5.0     2.5 KiB/s     20 ms       20 ms',
    '  errors           0.5  1 request failed since the last look',
    'map, 1 MiB a cell:  . healthy  m moved  z bad, unwritten  U unreadable  G gone',
    '.mU.G....z',
    'q quit  p pause',
  ]);
});

test('several devices are a list around the one that is shown, and arrows are named', () => {
  const names = Array.from({ length: 30 }, (_, at) => `disk-${at}`);
  const devices = names.map((name) => exampleView({ name }, { name }));
  const lines = shown(viewOf(devices, { selected: 17, paused: true }), screen);
  assert.equal(lines[0], 'dm-remap top  every 2 s  14:05:09 UTC  PAUSED');
  assert.match(lines[1]!, /^ {2}NAME +HEALTH +READ\/s WRITE\/s +SPARE +LOST +STATE$/);
  assert.deepEqual(
    lines.slice(2, 9).map((line) => line.slice(0, 9)),
    ['  disk-14', '  disk-15', '  disk-16', '> disk-17', '  disk-18', '  disk-19', '  disk-20'],
  );
  assert.match(lines[5]!, /^> disk-17 +failing +50 +5\.0 +0 % +3 +serving$/);
  assert.match(lines[10]!, /^disk-17: serving/);
  assert.equal(lines.at(-1), 'q quit  p go on  arrows device');
});

test('a device that does not answer is shown as it was last, with why; one that never did, without', () => {
  const late = shown(viewOf([exampleView({ silent: 'no answer for 7 s' })]), { columns: 120, rows: 24 });
  assert.match(late[2]!, /failing: .* {2}\(now: no answer for 7 s\)$/);
  const never = exampleView({ status: undefined, figures: undefined, silent: 'its process was killed' });
  assert.equal(shown(viewOf([never]), screen)[2], 'disk: its process was killed');
  assert.equal(shown(viewOf([]), screen)[1], 'no device is served; "dm-remap ls" lists them');
  const first = shown(viewOf([exampleView({ figures: undefined })]), screen);
  assert.ok(first.includes('            figures come with the next look'));
});

test('a device without its spare, and one in trouble, say so', () => {
  const remap = { ...exampleStatus.remap, state: 'main-failed' };
  const lines = shown(viewOf([exampleView({}, { spare: null, remap })]), screen);
  assert.match(lines[2]!, /^disk: serving, main-failed, failing/);
  assert.ok(lines.includes('  spare     none'));
  assert.ok(lines.includes('  slots     none'));
});

test('a map is asked for exactly as fine as there is room for it', () => {
  const view = viewOf([exampleView({ map: exampleMap })]);
  const above = shown(view, screen).findIndex((line) => line.startsWith('map, '));
  assert.equal(mapCellsOf(view, screen), 80 * (24 - above - 2));
  assert.equal(mapCellsOf(view, { columns: 80, rows: above + 2 }), 0);
  assert.equal(
    shown(view, { columns: 80, rows: above + 2 }).at(-2),
    '  errors           0.5  1 request failed since the last look',
  );
});

test('whatever names, serials and reasons hold, no line is a command to the terminal, too wide, or too many', () => {
  const nasty = fc.oneof(
    fc.string({ unit: 'binary', maxLength: 60 }),
    fc.constant('\u001b[2J\u0007\u009b31m\u202eevil\ud83d\ude00\n'),
  );
  fc.assert(
    fc.property(
      nasty,
      fc.array(nasty, { maxLength: 3 }),
      fc.integer({ min: 1, max: 200 }),
      fc.integer({ min: 1, max: 60 }),
      fc.integer({ min: 0, max: 4 }),
      (text, reasons, columns, rows, more) => {
        const disk = { ...exampleStatus.main, path: text, model: text, serial: text };
        const remap = { ...exampleStatus.remap, healthReasons: reasons };
        const device = exampleView({ name: text, map: exampleMap }, { main: disk, spare: disk, remap });
        const silent = exampleView({ name: text, status: undefined, figures: undefined, silent: text });
        const devices = [device, silent, device, silent].slice(0, more);
        const lines = shown(viewOf(devices, { selected: Math.max(0, more - 1) }), { columns, rows });
        assert.ok(lines.length <= rows, `${lines.length} of ${rows}`);
        for (const line of lines) {
          assert.ok(line.length <= columns, `${line.length} of ${columns}`);
          assert.match(line, /^[\x20-\x7e\u00a1-\u052f…]*$/u);
        }
      },
    ),
    { numRuns: 300 },
  );
});

test('a line is cut where the screen ends, and says so by its last letter', () => {
  const line = [span('12345'), span('678', 'bad')];
  assert.equal(plainText(fittedLine(line, 8)), '12345678');
  assert.equal(plainText(fittedLine(line, 7)), '123456…');
  assert.equal(plainText(fittedLine(line, 5)), '1234…');
  assert.equal(plainText(fittedLine(line, 1)), '…');
  assert.equal(screenText('sd\u001b[31ma \u4e2d\u00ad\u0301 é'), 'sd?[31ma ??? é');
});
