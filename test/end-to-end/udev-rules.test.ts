import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import process from 'node:process';
import { test } from 'node:test';
import { udevRules } from '../../src/cli/boot/udev-rules.ts';
import { missingTool } from './foreign-tool.ts';

/** Not among the tools that CI installs: the package starts a daemon that opens every disk. */
const skip =
  process.getuid?.() !== 0
    ? 'needs root'
    : missingTool('udevadm') !== false
      ? 'udevadm is not here: run it on a machine with udev'
      : !existsSync('/sys/class/block/loop0') && 'needs a loop device';

/** What stands before ours on a real machine. */
const found = `SUBSYSTEM=="block", ENV{ID_SERIAL}="WDC_WD10-1234", ENV{ID_FS_TYPE}="ext4", ENV{ID_FS_UUID}="aaaa", ENV{ID_FS_LABEL}="data"
`;

/** udev's own judgement of an event, in a mount namespace with no rules but these, and nothing of it left on this machine. */
function judge(folder: string): ReadonlyMap<string, string> {
  const script = `mount -t tmpfs none /run && mount -t tmpfs none /etc && mkdir -p /etc/udev/rules.d &&
    mount -t tmpfs none /usr/lib/udev/rules.d && mount -t tmpfs none /dev &&
    mount --bind ${folder}/rules /etc/udev/rules.d && udevadm test --action=add /sys/class/block/loop0 2>&1`;
  const output = execFileSync('unshare', ['--mount', 'sh', '-c', script], { encoding: 'utf8' });
  assert.doesNotMatch(output, /61-dm-remap.rules:\d+.*(Invalid|Unknown|ignor)/i, output);
  return new Map(
    output.split('\n').flatMap((line) => {
      const [, name, value] = /^([A-Z_]+)=(.*)$/.exec(line) ?? [];
      return name === undefined || value === undefined ? [] : [[name, value] as const];
    }),
  );
}

test('M16 udev hides a disk exactly while a mark names it', { skip }, () => {
  const folder = mkdtempSync(join(tmpdir(), 'dm-remap-udev-'));
  try {
    mkdirSync(join(folder, 'rules'));
    mkdirSync(join(folder, 'hidden'));
    writeFileSync(join(folder, 'rules', '50-found.rules'), found);
    writeFileSync(join(folder, 'rules', '61-dm-remap.rules'), udevRules(join(folder, 'hidden')));
    const names = ['SYSTEMD_READY', 'UDISKS_IGNORE', 'ID_FS_TYPE', 'ID_FS_UUID', 'ID_FS_LABEL'];
    const seen = (): (string | undefined)[] => {
      const properties = judge(folder);
      assert.equal(properties.get('ID_SERIAL'), 'WDC_WD10-1234', 'the rules were read');
      return names.map((name) => properties.get(name));
    };
    const plain = [undefined, undefined, 'ext4', 'aaaa', 'data'];
    assert.deepEqual(seen(), plain);
    writeFileSync(join(folder, 'hidden', 'serial-WDC_WD10-9999'), '');
    assert.deepEqual(seen(), plain, 'the mark of another disk');
    writeFileSync(join(folder, 'hidden', 'serial-WDC_WD10-1234'), '');
    assert.deepEqual(seen(), ['0', '1', undefined, undefined, undefined]);
    rmSync(join(folder, 'hidden', 'serial-WDC_WD10-1234'));
    assert.deepEqual(seen(), plain);
  } finally {
    rmSync(folder, { recursive: true });
  }
});
