import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import test from 'node:test';
import { demoFaults, faultTable, fiveSpread, lowPair, sectorsOf } from '../../demo/bad-sectors.ts';
import { parseTable } from '../../src/mapping/table-syntax.ts';
import { standardRegistry } from '../fixtures/standard-registry.ts';

const sizeBytes = 256 * 1024 * 1024;

test('the maps are those of the test fixtures', () => {
  const path = new URL('../../../test/fixtures/fault-maps.json', import.meta.url);
  const maps: { fixtures: { name: string; badSectors?: [number, number][] }[] } = JSON.parse(
    readFileSync(path, 'utf8'),
  );
  const named = (name: string) => maps.fixtures.find((fixture) => fixture.name === name)?.badSectors;
  assert.deepEqual(fiveSpread, named('five-spread'));
  assert.deepEqual(lowPair, named('low-pair'));
});

for (const blockBytes of [512, 4096]) {
  test(`the table covers the disk and is dead exactly at the bad blocks of ${blockBytes} bytes`, () => {
    const faults = demoFaults(sizeBytes, blockBytes);
    const segments = parseTable(faultTable(faults, 'main.img'), standardRegistry());
    const last = segments.at(-1);
    assert.equal((last?.startSector ?? 0) + (last?.sectorCount ?? 0), sizeBytes / 512);
    assert.equal(last?.target, 'dust');
    const dead = segments
      .filter((segment) => segment.target === 'error')
      .flatMap((segment) => sectorsOf([[segment.startSector, segment.sectorCount]]));
    const blockSectors = blockBytes / 512;
    const bad = [...lowPair, ...fiveSpread].flatMap(([sector, count]) => sectorsOf([[sector, count]]));
    const blocks = new Set(bad.map((sector) => Math.floor(sector / blockSectors)));
    assert.deepEqual(new Set(dead.map((sector) => Math.floor(sector / blockSectors))), blocks);
    assert.equal(dead.length, blocks.size * blockSectors);
    assert.ok(segments.every((segment) => segment.startSector % blockSectors === 0));
    assert.ok(faults.unreadable.every((sector) => sector >= faults.unreadableFrom));
  });
}
