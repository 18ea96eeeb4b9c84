import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { missingTool, mustRunTool } from '../end-to-end/foreign-tool.ts';
import { assertFioBlocks } from './fio-blocks.ts';

const blockBytes = 512;
const blockCount = 64;

test('blocks of fio are recognised, and none that is torn, changed or of another place', {
  skip: missingTool('fio'),
}, async () => {
  const folder = mkdtempSync(join(tmpdir(), 'dm-remap-fio-blocks-'));
  try {
    const path = join(folder, 'blocks');
    const words = [`--bs=${blockBytes}`, `--size=${blockBytes * blockCount}`, '--verify=crc32c'];
    const common = ['--name=blocks', `--filename=${path}`, '--rw=randwrite', '--verify_state_save=0'];
    await mustRunTool('fio', ...common, ...words, '--do_verify=0', '--randseed=1');
    const first = readFileSync(path);
    assertFioBlocks(first, 0, blockBytes);
    await mustRunTool('fio', ...common, ...words, '--do_verify=0', '--randseed=2');
    const second = readFileSync(path);
    assertFioBlocks(second, 0, blockBytes);
    // Old and new blocks beside each other are what a kill leaves.
    assertFioBlocks(Buffer.concat([first.subarray(0, 1024), second.subarray(1024)]), 0, blockBytes);

    const refused = (bytes: Buffer, offset: number): void => {
      assert.throws(() => assertFioBlocks(bytes, offset, blockBytes), assert.AssertionError);
    };
    refused(first, blockBytes);
    refused(Buffer.concat([first.subarray(0, 256), second.subarray(256, 512)]), 0);
    refused(Buffer.alloc(blockBytes), 0);
    for (const at of [0, 20, 38, 42, 100, 511]) {
      const changed = Buffer.from(first.subarray(0, blockBytes));
      changed[at]! ^= 1;
      refused(changed, 0);
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
});
