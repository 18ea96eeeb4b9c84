import assert from 'node:assert/strict';
import { mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { TuningNotes, tunesDisks, tuningWaitMs } from '../../../src/device/process/tuning-notes.ts';
import { exampleStatus } from '../../control/example-status.ts';
import { HandClock } from '../hand-clock.ts';

test('a start waits for what is said of its disks, two seconds at most; later it is told by status', async () => {
  const clock = new HandClock();
  const quick = new TuningNotes(clock);
  const waited = quick.someTime();
  quick.done(['main, /dev/sda: gives up a sector after 7 s (SCT ERC)']);
  await waited;
  assert.equal(clock.waitingCount, 0);
  await quick.someTime();
  const slow = new TuningNotes(clock);
  const late = slow.someTime();
  clock.advance(tuningWaitMs);
  await late;
  assert.deepEqual(slow.notes, []);
  slow.done(['main: …']);
  assert.deepEqual(slow.notes, ['main: …']);
  slow.done(['main: …', 'spare: …']);
  assert.deepEqual(
    slow.notes,
    ['main: …', 'spare: …'],
    'all of it each time: a control plane that came back says it again',
  );
});

function tunes(main: string, access: 'direct' | 'nbd' | 'table', policies: Record<string, string> = {}) {
  return tunesDisks({
    main: { ...exampleStatus.main, path: main, access },
    spare: null,
    remap: { ...exampleStatus.remap, changedPolicies: policies },
  });
}

test('images, tables and other machines have nothing to set up', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dm-remap-tuning-'));
  const path = join(folder, 'image');
  writeFileSync(path, 'x');
  assert.equal(await tunes(path, 'direct'), false);
  assert.equal(await tunes('table:x', 'table'), false);
  assert.equal(await tunes('nbd://x', 'nbd'), false);
  assert.equal(await tunes(join(folder, 'absent'), 'direct'), false);
  rmSync(folder, { recursive: true });
});

/** Any block device; it is only asked what it is. */
const blockDevice: string | undefined = readdirSync('/dev')
  .map((name) => join('/dev', name))
  .find((path) => statSync(path, { throwIfNoEntry: false })?.isBlockDevice());

test('a block device has, unless --no-tune', {
  skip: blockDevice === undefined ? 'needs a block device' : false,
}, async () => {
  assert.equal(await tunes(blockDevice!, 'direct'), true);
  assert.equal(await tunes(blockDevice!, 'direct', { tune: 'off' }), false);
});
