import assert from 'node:assert/strict';
import test from 'node:test';
import { drawDiskMap, parseSectorRuns, plainGlyphs } from '../../demo/disk-map.ts';

const mebibyteSectors = 2048;
const style = { columns: 4, glyphs: plainGlyphs };

test('each cell is a mebibyte and shows the worst thing in it', () => {
  const map = {
    sectorCount: 6 * mebibyteSectors,
    moved: [[2048, 8] as const, [5 * 2048 - 1, 2] as const],
    lost: [[2060, 1] as const],
  };
  const lines = drawDiskMap(map, style);
  assert.deepEqual(lines.slice(0, 2), ['0 MiB |.!..|', '4 MiB |##|']);
  assert.match(lines[2] ?? '', /works .* moved to the spare .* lost/);
});

test('a disk that ends within a mebibyte has a cell for the rest', () => {
  const lines = drawDiskMap({ sectorCount: mebibyteSectors + 1, moved: [[2048, 1]], lost: [] }, style);
  assert.equal(lines[0], '0 MiB |.#|');
});

test('without colours the map is plain ASCII', () => {
  const text = drawDiskMap({ sectorCount: 10_000, moved: [[0, 1]], lost: [[5000, 1]] }, style).join('\n');
  assert.match(text, /^[\x20-\x7e\n]*$/);
});

test('runs are read from the answers of list and lost', () => {
  assert.deepEqual(parseSectorRuns('1000 8 19072 writeError\n50000 1 19080 operator unverified'), [
    [1000, 8],
    [50000, 1],
  ]);
  assert.deepEqual(parseSectorRuns('263144 2 unreadable\n# and 3 more'), [[263144, 2]]);
  assert.deepEqual(parseSectorRuns(''), []);
});
