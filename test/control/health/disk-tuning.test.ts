import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { DiskTuning } from '../../../src/control/health/disk-tuning.ts';
import { Smartctl } from '../../../src/control/health/smartctl.ts';
import type { WholeDisk } from '../../../src/control/health/whole-disks.ts';
import { HandClock } from '../../device/hand-clock.ts';
import { FakeSmartctl } from './fake-smartctl.ts';
import { scterc } from './smart-outputs.ts';

let fake: FakeSmartctl;
let folder: string;
let tuning: DiskTuning;

beforeEach(() => {
  fake = new FakeSmartctl();
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-tuning-'));
  tuning = new DiskTuning(fake.runner(new HandClock()));
});

afterEach(() => {
  fake[Symbol.dispose]();
  rmSync(folder, { recursive: true, force: true });
});

/** A disk as sysfs tells of it; its kernel time-out in seconds, or none. */
function disk(name: string, timeout: string | undefined, more: Partial<WholeDisk> = {}): WholeDisk {
  const directory = join(folder, name);
  mkdirSync(join(directory, 'device'), { recursive: true });
  if (timeout !== undefined) writeFileSync(join(directory, 'device', 'timeout'), timeout);
  return { role: 'main', device: `/dev/${name}`, directory, key: `main ${name}`, underFile: false, ...more };
}

function timeoutOf(name: string): string {
  return readFileSync(join(folder, name, 'device', 'timeout'), 'utf8').trim();
}

/** Takes SCT ERC as a disk does: what is set is what is read next. */
function obeys(device: string, before: string): void {
  const state = join(fake.folder, 'state');
  writeFileSync(state, before);
  writeFileSync(`${state}.new`, scterc(70));
  fake.does(device, `case "$*" in *scterc,70,70*) cp '${state}.new' '${state}';; esac; cat '${state}'\n`);
}

describe('a disk is set up for recovering errors', () => {
  it('by telling it to give a sector up after 7 s, once, where it tries for longer or for ever', async () => {
    for (const before of [scterc('off'), scterc(200), scterc(70, 'off')]) {
      obeys('/dev/sda', before);
      const notes = await new DiskTuning(fake.runner(new HandClock())).tune([disk('sda', '30')]);
      assert.deepEqual(notes, ['main, /dev/sda: gives up a sector after 7 s (SCT ERC, set now)']);
      assert.equal(timeoutOf('sda'), '30', 'the kernel waits longer than the disk already');
    }
    assert.ok(fake.calls().includes('--json=c --log=scterc,70,70 /dev/sda'));
  });

  it('not at all where it gives up by itself: what a RAID disk has is left as it is', async () => {
    fake.says('/dev/sda', scterc(70, 50));
    assert.deepEqual(await tuning.tune([disk('sda', '30')]), [
      'main, /dev/sda: gives up a sector after 7 s (SCT ERC)',
    ]);
    assert.deepEqual(fake.calls(), ['--json=c --log=scterc /dev/sda']);
  });

  it('by letting the kernel wait 180 s where it cannot be told, or takes the command and does nothing', async () => {
    fake.says('/dev/sda', scterc(undefined), 4);
    fake.says('/dev/sdb', scterc('off'));
    fake.says('/dev/sdc', 'Segmentation fault', 139);
    const disks = [disk('sda', '30'), disk('sdb', '60', { role: 'spare' }), disk('sdc', '30')];
    assert.deepEqual(await tuning.tune(disks), [
      'main, /dev/sda: cannot be told when to give up a sector (no SCT ERC); the kernel waits 180 s for it now, was 30',
      'spare, /dev/sdb: cannot be told when to give up a sector (it does not take SCT ERC); the kernel waits 180 s for it now, was 60',
      'main, /dev/sdc: cannot be told when to give up a sector (no SCT ERC); the kernel waits 180 s for it now, was 30',
    ]);
    assert.deepEqual(['sda', 'sdb', 'sdc'].map(timeoutOf), ['180', '180', '180']);
  });

  it('without lowering what is higher, and without smartctl', async () => {
    const without = new DiskTuning(new Smartctl(new HandClock(), { PATH: folder }, []));
    assert.deepEqual(await without.tune([disk('sda', '600'), disk('sdb', '30')]), [
      'main, /dev/sda: cannot be told when to give up a sector (smartctl is not installed); the kernel waits 600 s for it',
      'main, /dev/sdb: cannot be told when to give up a sector (smartctl is not installed); the kernel waits 180 s for it now, was 30',
    ]);
    assert.equal(timeoutOf('sda'), '600');
  });

  it('as a note, never an error, where the time-out cannot be written', async () => {
    const sda = disk('sda', '30');
    const timeout = join(sda.directory, 'device', 'timeout');
    // Between reading and writing it becomes a folder, which nobody can write to, root included.
    fake.does('/dev/sda', `rm '${timeout}' && mkdir '${timeout}'; echo '${scterc(undefined)}'\n`);
    const [note] = await tuning.tune([sda]);
    assert.match(
      note ?? '',
      /^main, \/dev\/sda: .*the kernel resets it after 30 s, and that could not be changed \(EISDIR\)$/,
    );
  });

  it('never under an image file, nor where there is no time-out to set, and once for main and spare on one disk', async () => {
    fake.says('/dev/sda', scterc(70));
    const notes = await tuning.tune([
      disk('vda', undefined),
      disk('loop0', '30', { underFile: true }),
      disk('sda', '30'),
      disk('sda', '30', { role: 'spare' }),
    ]);
    assert.equal(notes.length, 1);
    assert.deepEqual(fake.calls(), ['--json=c --log=scterc /dev/sda']);
    assert.deepEqual(await tuning.tune([disk('sda', '30')]), notes, 'all notes again, nothing done again');
    assert.equal(fake.calls().length, 1);
  });
});
