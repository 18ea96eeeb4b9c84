import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type NbdClient, NbdRequestError } from '../../src/nbd/client.ts';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { type BadRun, badGranules, remapCount, remappedGranules, spreadBadSectors } from './bad-disk.ts';
import { DeviceLab } from './device-lab.ts';
import { endLab } from './nothing-left-over.ts';
import { fillSectors, SectorVersions, sectorBytes, sectorsPerGranule } from './sector-versions.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 32 * mebibyte;
const sectorCount = mainBytes / sectorBytes;
const badCount = 1000;
const kills = 5;
const wordsPerSector = sectorBytes / 4;
const granuleCount = sectorCount / sectorsPerGranule;
const writersAtOnce = 48;
const readersAtOnce = 32;
/** Newly saved blocks before each kill: some hundred in the end, and most are still to come at each kill. */
const savedEachTime = 60;
/** A machine that was busy with other things needed 3 s. */
const trafficMsMax = 30_000;

let lab: DeviceLab;

beforeEach(() => {
  lab = new DeviceLab();
});

afterEach(() => endLab(lab));

/** The dead blocks that a write was acknowledged for that covers their dead sector: each must have been moved. */
class SavedBlocks {
  readonly granules = new Set<number>();
  readonly #dead: ReadonlySet<number>;

  constructor(bad: readonly BadRun[]) {
    this.#dead = new Set(bad.map(([sector]) => sector));
  }

  noteAcknowledged(firstSector: number, count: number): void {
    for (let sector = firstSector; sector < firstSector + count; sector += 1) {
      if (this.#dead.has(sector)) this.granules.add(Math.floor(sector / sectorsPerGranule));
    }
  }

  /** Resolves when there are so many; how long that takes is the machine's affair. */
  async atLeast(count: number): Promise<void> {
    const endMs = Date.now() + trafficMsMax;
    while (this.granules.size < count) {
      assert.ok(Date.now() < endMs, `${this.granules.size} blocks saved in ${trafficMsMax} ms, not ${count}`);
      await sleep(2);
    }
  }
}

/** Writes at chance places, at most one write in a granule at one time, until the connection breaks. */
async function writeUntilTheEnd(
  client: NbdClient,
  versions: SectorVersions,
  saved: SavedBlocks,
  busy: Set<number>,
  random: SeededRandom,
): Promise<number> {
  for (let written = 0; ; ) {
    const granule = random.below(granuleCount);
    if (busy.has(granule)) continue;
    busy.add(granule);
    const first = random.chance(0.5) ? 0 : random.below(sectorsPerGranule);
    const count = first === 0 ? sectorsPerGranule : 1 + random.below(sectorsPerGranule - first);
    const sector = granule * sectorsPerGranule + first;
    const words = new Uint32Array((count * sectorBytes) / 4);
    const version = versions.begin(sector, count);
    fillSectors(words, sector, version);
    try {
      await client.write(new Uint8Array(words.buffer), sector * sectorBytes, { fua: random.chance(0.2) });
    } catch (error) {
      // Nobody answered: the process is dead. An answer that says EIO would be a sector that was not saved.
      if (!(error instanceof NbdRequestError)) return written;
      throw error;
    }
    versions.acknowledge(sector, count, version);
    saved.noteAcknowledged(sector, count);
    busy.delete(granule);
    written += 1;
  }
}

/** Reads all, and fails for each sector that holds what it must not. Lost sectors must never have been written. */
async function compare(client: NbdClient, versions: SectorVersions): Promise<Uint32Array> {
  const found = new Uint32Array(sectorCount);
  const reader = async (firstGranule: number): Promise<void> => {
    for (let granule = firstGranule; granule < granuleCount; granule += readersAtOnce) {
      await compareGranule(client, granule * sectorsPerGranule, versions, found);
    }
  };
  await Promise.all(Array.from({ length: readersAtOnce }, (_, index) => reader(index)));
  return found;
}

async function compareGranule(
  client: NbdClient,
  firstSector: number,
  versions: SectorVersions,
  found: Uint32Array,
): Promise<void> {
  const words = new Uint32Array(sectorsPerGranule * wordsPerSector);
  const whole = await isRead(client, words, firstSector * sectorBytes);
  for (let at = 0; at < sectorsPerGranule; at += 1) {
    const sector = firstSector + at;
    const part = words.slice(at * wordsPerSector, (at + 1) * wordsPerSector);
    // The whole fails for one lost sector of it; the others must be readable by themselves.
    if (whole || (await isRead(client, part, sector * sectorBytes))) {
      found[sector] = versions.check(part, sector);
    } else {
      assert.equal(versions.acknowledged[sector], 0, `R4: sector ${sector} was acknowledged and is lost`);
    }
  }
}

async function isRead(client: NbdClient, words: Uint32Array, offset: number): Promise<boolean> {
  try {
    await client.read(new Uint8Array(words.buffer), offset);
    return true;
  } catch (error) {
    assert.match(String(error), /EIO/);
    return false;
  }
}

test(`I12 killed ${kills} times with ${writersAtOnce} writes in flight over ${badCount} dead sectors, no acknowledged write is lost`, async () => {
  const random = new SeededRandom('kill-under-load');
  const bad = spreadBadSectors('kill-under-load', badCount, 0, sectorCount);
  const main = lab.image('main.img', mainBytes);
  const table = lab.faultTable('main.table', main, mainBytes, bad);
  lab.image('spare.img', 32 * mebibyte);
  await lab.mustRun('create', 'disk', '--main-table', table, '--spare', 'spare.img');
  const versions = new SectorVersions(sectorCount);
  const dead = new Set(badGranules(bad));
  const saved = new SavedBlocks(bad);
  let remapped = 0;
  for (let kill = 0; kill < kills; kill += 1) {
    const client = await lab.connect('disk');
    const busy = new Set<number>();
    const writers = Array.from({ length: writersAtOnce }, (_, writer) =>
      writeUntilTheEnd(client, versions, saved, busy, random.fork(`writer ${kill} ${writer}`)),
    );
    await saved.atLeast(savedEachTime * (kill + 1));
    await lab.kill('disk');
    const written = (await Promise.all(writers)).reduce((sum, count) => sum + count, 0);
    assert.ok(written > 0, 'the traffic did not happen');

    await lab.mustRun('assemble', '--main-table', table, '--spare', 'spare.img');
    const reader = await lab.connect('disk');
    versions.settle(await compare(reader, versions));
    await reader.disconnect();
    const moved = await remappedGranules(lab, 'disk');
    assert.deepEqual(
      moved.filter((granule) => !dead.has(granule)),
      [],
      'I17: nothing healthy was moved',
    );
    const listed = new Set(moved);
    assert.deepEqual(
      [...saved.granules].filter((granule) => !listed.has(granule)),
      [],
      'I12: what was acknowledged over a dead sector was moved',
    );
    assert.equal(await remapCount(lab, 'disk'), moved.length);
    assert.ok(moved.length >= remapped, 'a remap is never forgotten');
    remapped = moved.length;
  }
  assert.ok(remapped > badCount / 4, `only ${remapped} remaps happened`);
});
