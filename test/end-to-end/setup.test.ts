import assert from 'node:assert/strict';
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import process from 'node:process';
import { afterEach, beforeEach, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { abstractAddress } from '../../src/linux/socket-address.ts';
import { DatagramReceiver } from '../linux/datagram-receiver.ts';
import { DeviceLab } from './device-lab.ts';
import { missingTool, runTool } from './foreign-tool.ts';
import { endLab } from './nothing-left-over.ts';

const mib = 1_048_576;
const unit = 'etc/systemd/system/dm-remap@.service';
const monitorUnit = 'etc/systemd/system/dm-remap-monitor.service';
const rules = 'etc/udev/rules.d/61-dm-remap.rules';
const hidden = 'etc/dm-remap/hidden';

let lab: DeviceLab;
let root: string;

beforeEach(() => {
  lab = new DeviceLab();
  root = lab.path('root');
  mkdirSync(root);
});

afterEach(async () => {
  await endLab(lab);
});

const setup = (...words: readonly string[]): string[] => ['setup', '--root', root, ...words];

test('setup asks first, shows all that it would write, writes it once, and takes it away again', async () => {
  await lab.mustFail(ExitCode.refused, /would .*dm-remap@\.service.*--yes does it/, ...setup());
  const shown = await lab.mustRun(...setup('--dry-run'));
  assert.deepEqual(readdirSync(root), [], 'nothing is written unasked');
  assert.match(
    await lab.mustRun(...setup('--yes')),
    /wrote .*dm-remap@\.service\nwrote .*dm-remap-monitor\.service\nwrote .*61-dm-remap\.rules/,
  );
  for (const path of [unit, monitorUnit, rules]) {
    for (const line of readFileSync(join(root, path), 'utf8').trimEnd().split('\n')) {
      assert.ok(shown.includes(`  | ${line}`), `${path}: ${line} was not shown`);
    }
  }
  assert.ok(existsSync(join(root, hidden)));
  assert.match(await lab.mustRun(...setup('--yes')), /^nothing to do/);
  assert.equal(await lab.mustRun(...setup('--dry-run')), 'nothing to do\n');
  writeFileSync(join(root, hidden, 'serial-X'), '');
  mkdirSync(join(root, 'etc/systemd/system/local-fs.target.wants'));
  symlinkSync(join('/', unit), join(root, 'etc/systemd/system/local-fs.target.wants/dm-remap@disk.service'));
  mkdirSync(join(root, 'etc/systemd/system/multi-user.target.wants'));
  const enabled = join(root, 'etc/systemd/system/multi-user.target.wants/dm-remap-monitor.service');
  symlinkSync(join('/', monitorUnit), enabled);
  const left = await lab.mustRun(...setup('--uninstall', '--yes'));
  assert.match(left, /still enabled: systemctl disable dm-remap@disk\n/);
  assert.match(left, /still enabled: systemctl disable dm-remap-monitor\n/);
  for (const path of [unit, monitorUnit, rules, hidden]) assert.ok(!existsSync(join(root, path)), path);
  assert.match(await lab.mustRun(...setup('--uninstall', '--yes')), /^nothing to do/);
});

test('setup leaves the files of others alone, and renews its own of another version', async () => {
  mkdirSync(join(root, 'etc/udev/rules.d'), { recursive: true });
  writeFileSync(join(root, rules), '# mine\n');
  for (const words of [['--yes'], ['--dry-run'], ['--uninstall', '--yes']]) {
    await lab.mustFail(ExitCode.refused, /61-dm-remap\.rules: .*was not written by/, ...setup(...words));
  }
  assert.equal(readFileSync(join(root, rules), 'utf8'), '# mine\n');
  writeFileSync(
    join(root, rules),
    '# Written by "dm-remap setup"; "dm-remap setup --uninstall" removes it.\n# old\n',
  );
  await lab.mustRun(...setup('--yes'));
  assert.match(readFileSync(join(root, rules), 'utf8'), /SYSTEMD_READY/);
  await lab.mustFail(ExitCode.notFound, /no such folder/, 'setup', '--root', lab.path('none'), '--yes');
});

test('the unit is one that systemd understands, whatever the program is called', {
  skip: missingTool('systemd-analyze'),
}, async () => {
  await lab.mustRun(...setup('--yes'));
  for (const path of [unit, monitorUnit]) {
    const { output } = await runTool('systemd-analyze', 'verify', '--man=no', join(root, path));
    assert.doesNotMatch(output, /dm-remap/);
  }
  // The judge itself: a unit with a wrong word does not pass.
  const wrong = lab.path('wrong-dm-remap@.service');
  writeFileSync(wrong, readFileSync(join(root, unit), 'utf8').replace('WatchdogSec', 'WatchdgSec'));
  assert.match(
    (await runTool('systemd-analyze', 'verify', '--man=no', wrong)).output,
    /dm-remap@.*WatchdgSec/,
  );
  await lab.mustRun(...setup('--yes', '--program', '/opt/100% "new"/$main.js', '--node', process.execPath));
  const line = readFileSync(join(root, unit), 'utf8').match(/^ExecStart=.*$/m)![0];
  assert.equal(line, `ExecStart="${process.execPath}" "/opt/100%% \\"new\\"/$$main.js" serve %i --wait 60`);
});

test('R35 what the unit starts tells systemd that it serves, that it lives, and that it ends', async () => {
  lab.image('main.img', 64 * mib);
  lab.image('spare.img', 32 * mib);
  await lab.mustRun('create', 'disk', '--main', 'main.img', '--spare', 'spare.img');
  await lab.mustRun('remove', 'disk');
  const name = `dm-remap-setup-test-${process.pid}`;
  const manager = new DatagramReceiver(abstractAddress(name));
  const said: string[] = [];
  // The kernel keeps ten datagrams for who does not read (net.unix.max_dgram_qlen).
  const reading = setInterval(() => said.push(...manager.received()), 10);
  try {
    const environment = { NOTIFY_SOCKET: `@${name}`, WATCHDOG_USEC: '200000' };
    const served = lab.startWith(environment, 'serve', 'disk', '--wait', '60');
    const hears = async (text: RegExp): Promise<void> => {
      while (!said.some((line) => text.test(line))) {
        assert.equal(served.child.exitCode, null, `it ended: ${served.errors()}`);
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    };
    await hears(/^READY=1\nSTATUS=disk: serving nbd\+unix/);
    await hears(/^WATCHDOG=1$/);
    assert.match(await lab.mustRun('status', 'disk'), /^disk: serving/);
    served.child.kill('SIGTERM');
    assert.equal(await served.ended, ExitCode.ok);
    said.push(...manager.received());
    assert.match(said[0]!, /^READY=1/, 'nothing is said before it serves');
    assert.equal(said.filter((line) => line.startsWith('STOPPING=1')).length, 1);
  } finally {
    clearInterval(reading);
    manager.close();
  }
});
