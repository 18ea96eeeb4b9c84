import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readFileSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { DiskTuning } from '../../../src/control/health/disk-tuning.ts';
import { readWords, smartAnswer } from '../../../src/control/health/smart-output.ts';
import { Smartctl, smartctlDeadlineMs } from '../../../src/control/health/smartctl.ts';
import type { WholeDisk } from '../../../src/control/health/whole-disks.ts';
import { RealClock } from '../../../src/io/real-clock.ts';
import { HandClock } from '../../device/hand-clock.ts';
import { missingTool } from '../../end-to-end/foreign-tool.ts';
import { FakeSmartctl } from './fake-smartctl.ts';

let fake: FakeSmartctl;
let clock: HandClock;

beforeEach(() => {
  fake = new FakeSmartctl();
  clock = new HandClock();
});

afterEach(() => fake[Symbol.dispose]());

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    // A zombie is no process any more.
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

/** It tells its number and hangs. */
async function hanging(device: string): Promise<number> {
  const path = join(fake.folder, 'pid');
  while (!existsSync(path) || readFileSync(path, 'utf8') === '') await sleep(2);
  assert.ok(fake.calls().some((call) => call.endsWith(device)));
  return Number(readFileSync(path, 'utf8'));
}

const hang = (): string => `echo $$ > '${join(fake.folder, 'pid')}'; exec sleep 1000\n`;

describe('smartctl', () => {
  it('is asked with the words and the disk, and what it prints comes with its exit status', async () => {
    fake.says('/dev/sda', '{"a":1}', 66);
    const end = await fake.runner(clock).run('/dev/sda', ['--json=c', '--info']);
    assert.deepEqual(end, { kind: 'ended', exitStatus: 66, output: '{"a":1}' });
    assert.deepEqual(fake.calls(), ['--json=c --info /dev/sda']);
    assert.equal(clock.waitingCount, 0, 'no deadline is left');
  });

  it('that is not there is not installed', async () => {
    const smartctl = new Smartctl(clock, { PATH: join(fake.folder, 'nowhere') }, []);
    assert.deepEqual(await smartctl.run('/dev/sda', []), { kind: 'not-installed' });
    assert.deepEqual(
      await smartctl.run('/dev/sda', []),
      { kind: 'not-installed' },
      'and can be looked for again',
    );
  });

  it('that hangs is killed after ten seconds', async () => {
    fake.does('/dev/sda', hang());
    const asked = fake.runner(clock).run('/dev/sda', []);
    const pid = await hanging('/dev/sda');
    clock.advance(smartctlDeadlineMs);
    assert.deepEqual(await asked, { kind: 'no-answer', why: 'smartctl had no answer after 10 s' });
    while (isAlive(pid)) await sleep(2);
  });

  it('runs once at a time for each disk, and for others beside it', async () => {
    fake.does('/dev/sda', hang());
    fake.says('/dev/sdb', 'fine');
    const smartctl = fake.runner(clock);
    const asked = smartctl.run('/dev/sda', []);
    const pid = await hanging('/dev/sda');
    assert.equal((await smartctl.run('/dev/sda', [])).kind, 'no-answer');
    assert.equal((await smartctl.run('/dev/sdb', [])).kind, 'ended');
    assert.equal(fake.calls().filter((call) => call === '/dev/sda').length, 1);
    smartctl.close();
    assert.deepEqual(await asked, { kind: 'no-answer', why: 'the device ends' });
    while (isAlive(pid)) await sleep(2);
  });

  it('that prints without end is killed after a MiB', async () => {
    fake.does('/dev/sda', 'exec cat /dev/zero\n');
    const end = await fake.runner(clock).run('/dev/sda', []);
    assert.deepEqual(end, { kind: 'no-answer', why: 'smartctl printed more than 1048576 bytes' });
  });

  it('of the system says of an image file that it is no disk', {
    skip: missingTool('smartctl'),
  }, async () => {
    const path = join(fake.folder, 'image');
    writeFileSync(path, '');
    truncateSync(path, 8_388_608);
    const smartctl = new Smartctl(new RealClock());
    const answer = smartAnswer(await smartctl.run(path, readWords), 0);
    assert.deepEqual([answer.state, answer.reading], ['not-supported', undefined]);
    assert.match(answer.detail, /Unable to detect device type/);
    const directory = join(fake.folder, 'sys');
    mkdirSync(join(directory, 'device'), { recursive: true });
    writeFileSync(join(directory, 'device', 'timeout'), '30\n');
    const disk: WholeDisk = { role: 'main', device: path, directory, key: 'main', underFile: false };
    const [note] = await new DiskTuning(smartctl).tune([disk]);
    assert.match(note ?? '', /\(no SCT ERC\); the kernel waits 180 s for it now, was 30$/);
  });
});
