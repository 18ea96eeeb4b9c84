import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, it } from 'node:test';
import { FileTree } from './file-tree.ts';

let folder: string;

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'dm-remap-file-tree-'));
});

afterEach(() => {
  rmSync(folder, { recursive: true });
});

function change(path: string, work: (bytes: Buffer) => void): void {
  const bytes = readFileSync(join(folder, path));
  work(bytes);
  writeFileSync(join(folder, path), bytes);
}

/** The path of a file of more than a page. */
async function treeWithFiles(lossy: boolean): Promise<{ tree: FileTree; large: string }> {
  const tree = new FileTree('file-tree', { lossy });
  await tree.work(folder, 400_000);
  await tree.work(folder, 400_000);
  tree.settle(true);
  const large = tree.paths.find((path) => readFileSync(join(folder, path)).length > 10_000);
  assert.ok(large !== undefined);
  return { tree, large };
}

describe('a tree of files', () => {
  for (const lossy of [false, true]) {
    it(`is equal when nobody touched it, and a changed byte is found (lossy: ${lossy})`, async () => {
      const { tree, large } = await treeWithFiles(lossy);
      assert.deepEqual(await tree.check(folder), { equal: tree.fileCount, damaged: [] });
      change(large, (bytes) => {
        bytes[5000]! ^= 1;
      });
      await assert.rejects(tree.check(folder), assert.AssertionError);
    });
  }

  it('counts a sector of zeros as damage on a lossy disk, and as a failure on another', async () => {
    for (const lossy of [false, true]) {
      const { tree, large } = await treeWithFiles(lossy);
      change(large, (bytes) => {
        bytes.fill(0, 4608, 5120);
      });
      if (lossy) {
        const { damaged } = await tree.check(folder);
        assert.deepEqual(damaged, [{ path: large, unreadable: [[4096, 4096]] }]);
      } else await assert.rejects(tree.check(folder), assert.AssertionError);
      rmSync(folder, { recursive: true });
      folder = mkdtempSync(join(tmpdir(), 'dm-remap-file-tree-'));
    }
  });

  it('finds a file that is shorter than it was written, and one that is gone', async () => {
    const { tree, large } = await treeWithFiles(true);
    truncateSync(join(folder, large), 6000);
    await assert.rejects(tree.check(folder), assert.AssertionError);
    rmSync(join(folder, large));
    assert.deepEqual((await tree.check(folder)).damaged, [{ path: large, unreadable: undefined }]);
  });

  it('does not know of files that were written since the last sync when the next one fails', async () => {
    const tree = new FileTree('unsynced', { lossy: true });
    await tree.work(folder, 400_000);
    tree.settle(true);
    const before = tree.fileCount;
    await tree.work(folder, 400_000);
    tree.settle(false);
    assert.ok(tree.doubtful > 0);
    assert.ok(tree.fileCount > before / 2, 'those that were synced by themselves stay');
    const strict = new FileTree('strict', { lossy: false });
    assert.throws(() => strict.settle(false), assert.AssertionError);
  });
});
