import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, test } from 'node:test';
import {
  type Attachment,
  attachedNames,
  backendName,
  diskSequenceOf,
  isAttached,
  parseAttachment,
  readAttachment,
  removeAttachment,
  writeAttachment,
} from '../../src/attach/attachment-record.ts';

const attachment: Attachment = {
  kind: 'loop',
  deviceName: 'loop3',
  uuid: '6f1c3b52-6a5e-4b4e-9d9b-0d6f6a5b7c11',
  servedBy: '7 8 9',
  readOnly: false,
  queueSeconds: 0,
  diskSequence: '12',
};

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-record-'));
});

afterEach(() => rmSync(folder, { recursive: true }));

test('a record is there until it is removed, and leaves no folder', () => {
  assert.equal(readAttachment(folder, 'disk'), undefined);
  writeAttachment(folder, 'disk', attachment);
  writeAttachment(folder, 'other', { ...attachment, kind: 'nbd', deviceName: 'nbd0' });
  assert.deepEqual(readAttachment(folder, 'disk'), attachment);
  assert.deepEqual([...attachedNames(folder)].sort(), ['disk', 'other']);
  removeAttachment(folder, 'disk');
  assert.equal(readAttachment(folder, 'disk'), undefined);
  removeAttachment(folder, 'other');
  removeAttachment(folder, 'other');
  assert.deepEqual(readdirSync(folder), []);
});

test('a text that is no record is none, a name that leads elsewhere too', () => {
  writeAttachment(folder, 'disk', attachment);
  for (const text of ['', '{', 'null', '7', '{}', JSON.stringify({ ...attachment, deviceName: '../sda' })]) {
    writeFileSync(join(folder, '.attached', 'disk'), text);
    assert.equal(readAttachment(folder, 'disk'), undefined, text);
    assert.equal(parseAttachment(text), undefined, text);
  }
});

test('what the kernel does not have any more is not attached', () => {
  assert.equal(existsSync('/sys/block/loop4711'), false);
  assert.equal(isAttached({ ...attachment, deviceName: 'loop4711' }), false);
  assert.equal(isAttached({ ...attachment, kind: 'nbd', deviceName: 'nbd4711' }), false);
});

test('a device that somebody else has by now is not attached, nor is it ours to take down', () => {
  const sysfs = (device: string, files: Readonly<Record<string, string>>): void => {
    for (const [name, text] of Object.entries(files)) {
      mkdirSync(join(folder, device, name, '..'), { recursive: true });
      writeFileSync(join(folder, device, name), `${text}\n`);
    }
  };
  const nbd: Attachment = { ...attachment, kind: 'nbd', deviceName: 'nbd0', diskSequence: '4711' };
  sysfs('nbd0', { pid: '4711', backend: backendName(nbd.uuid) });
  assert.equal(diskSequenceOf('nbd', 'nbd0', folder), '4711');
  assert.equal(isAttached(nbd, folder), true);
  // Connected anew by nbd-client, which names no backend: the kernel then has no such file.
  rmSync(join(folder, 'nbd0', 'backend'));
  assert.equal(isAttached(nbd, folder), true, 'a kernel before 5.14 has no such file for anybody');
  sysfs('nbd0', { pid: '4712' });
  assert.equal(isAttached(nbd, folder), false);
  sysfs('nbd0', { pid: '4711', backend: backendName('another') });
  assert.equal(isAttached(nbd, folder), false);
  sysfs('loop3', { diskseq: '12', 'loop/backing_file': '/' });
  assert.equal(isAttached(attachment, folder), true);
  sysfs('loop3', { diskseq: '13' });
  assert.equal(isAttached(attachment, folder), false);
});
