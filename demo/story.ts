import { open, writeFile } from 'node:fs/promises';
import { setTimeout as sleep } from 'node:timers/promises';
import { sectorBytes } from '../src/block/block-device.ts';
import { NbdRequestError } from '../src/nbd/client.ts';
import { type DiskFaults, demoFaults, faultTable, sectorsOf } from './bad-sectors.ts';
import { directBlockBytes } from './direct-block.ts';
import { drawDiskMap, parseSectorRuns } from './disk-map.ts';
import { copyFromDevice, copyToDevice, type Export, withClient } from './nbd-copy.ts';
import { compareFiles, noise, writeNoiseFile } from './reference.ts';
import { type Stage, StoryFailure } from './stage.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 256 * mebibyte;
const deviceName = 'dying';
const granuleBytes = 4096;
const spareSize = '64M';

const oldContentSeed = 1;
const newContentSeed = 2;
const lastWordsSeed = 3;

export interface StoryOptions {
  /** Change one byte of the disk behind the device's back, to prove that the comparison notices. */
  readonly sabotage: boolean;
}

/** The demonstration, act by act. Throws `StoryFailure` when one byte or one number is not what it must be. */
export async function tellStory(stage: Stage, options: StoryOptions): Promise<void> {
  const story = new Story(stage);
  await story.makeDyingDisk();
  await story.create();
  await story.readLostSectors();
  await story.writeEverything();
  await story.killAfterLastWord();
  if (options.sabotage) await story.sabotage();
  await story.assemble();
  await story.compareEveryByte();
  await story.remove();
}

class Story {
  readonly #stage: Stage;
  #faults: DiskFaults = demoFaults(mainBytes, sectorBytes);

  constructor(stage: Stage) {
    this.#stage = stage;
  }

  get #export(): Export {
    const socketPath = this.#stage.path(`run/${deviceName}/nbd.sock`);
    return { name: deviceName, socketPath, uri: `nbd+unix:///${deviceName}?socket=${socketPath}` };
  }

  async makeDyingDisk(): Promise<void> {
    const { narrator } = this.#stage;
    narrator.scene('A disk that is dying');
    const image = this.#stage.path('main.img');
    await writeNoiseFile(image, oldContentSeed, mainBytes);
    await writeNoiseFile(this.#stage.path('backup.img'), newContentSeed, mainBytes);
    this.#faults = demoFaults(mainBytes, await directBlockBytes(image));
    await writeFile(this.#stage.path('main.table'), faultTable(this.#faults, 'main.img'));
    const dead = sectorsOf(this.#faults.dead).length;
    narrator.say(
      `main.img has 256 MiB. ${dead} of its sectors fail every read and write (error), and`,
      `${this.#faults.unreadable.length} more cannot be read until something is written to them (dust).`,
    );
    narrator.command('cat main.table');
    narrator.answer(faultTable(this.#faults, 'main.img'));
  }

  async create(): Promise<void> {
    const { narrator } = this.#stage;
    narrator.scene('One healthy disk out of it and a small spare');
    const spare = ['--spare', 'spare.img', '--create-spare', spareSize];
    await this.#stage.dmRemap('create', deviceName, '--main-table', 'main.table', ...spare);
    // The lab's own switch: a dust segment is healthy until it is told otherwise.
    const toDust = ['message', deviceName, '0', 'main', String(this.#faults.unreadableFrom)];
    for (const sector of this.#faults.unreadable) {
      await this.#stage.askDmRemap(...toDust, 'addbadblock', String(sector));
    }
    await this.#stage.dmRemap(...toDust, 'enable');
    const blocks = await this.#stage.askDmRemap(...toDust, 'countbadblocks');
    expectText(
      blocks,
      `${this.#faults.unreadable.length} badblock(s) found`,
      'the lab did not break the disk',
    );
  }

  async readLostSectors(): Promise<void> {
    const { narrator } = this.#stage;
    narrator.scene('What is lost is reported, never invented');
    const bad = this.#faults.unreadable.map((sector) => sector * sectorBytes);
    const old = await open(this.#stage.path('main.img'));
    try {
      await withClient(this.#export, async (client) => {
        const piece = Buffer.alloc(sectorBytes);
        const truth = Buffer.alloc(sectorBytes);
        for (const offset of bad) {
          const errno = await errnoOf(client.read(piece, offset));
          if (errno === undefined)
            throw new StoryFailure(`sector ${offset / sectorBytes} is lost and was read`);
        }
        narrator.say(`reading the ${bad.length} sectors that the disk cannot read: each EIO`);
        const neighbours = bad.map((offset) => offset + 2 * sectorBytes);
        for (const offset of neighbours) {
          await client.read(piece, offset);
          await old.read(truth, 0, sectorBytes, offset);
          if (!piece.equals(truth)) throw new StoryFailure(`sector ${offset / sectorBytes}: wrong bytes`);
        }
        narrator.good(`their neighbours are read, and hold what they held before`);
      });
    } finally {
      await old.close();
    }
    const lost = await this.#stage.dmRemap('message', deviceName, '0', 'lost');
    expectNumber(countOf(lost), this.#faults.unreadable.length, 'lost sectors listed');
    await this.#showMap();
  }

  async writeEverything(): Promise<void> {
    const { narrator } = this.#stage;
    narrator.scene('Writing the whole disk, every bad sector of it too');
    const startMs = performance.now();
    await copyToDevice(this.#stage, 'backup.img', this.#export);
    narrator.good(`256 MiB written without an error in ${seconds(startMs)}`);
    const list = await this.#stage.dmRemap('message', deviceName, '0', 'list');
    const moved = parseSectorRuns(list).map(([sector]) => Math.floor((sector * sectorBytes) / granuleBytes));
    const bad = sectorsOf(this.#faults.dead).map((sector) =>
      Math.floor((sector * sectorBytes) / granuleBytes),
    );
    expectSet(moved, bad, 'blocks moved to the spare');
    const lost = await this.#stage.dmRemap('message', deviceName, '0', 'lost');
    expectNumber(countOf(lost), 0, 'lost sectors after writing');
    await this.#stage.dmRemap('status', deviceName, '--line');
    narrator.good('exactly the blocks with dead sectors are on the spare; the unreadable ones took the');
    narrator.say('   write and were read back good, so nothing is lost any more');
    await this.#showMap();
  }

  async killAfterLastWord(): Promise<void> {
    const { narrator } = this.#stage;
    narrator.scene('kill -9, right after a write is acknowledged');
    const { pid } = await this.#status();
    const places = this.#lastWordOffsets();
    const content = noise(lastWordsSeed, places.length * granuleBytes);
    const pieceOf = (index: number): Buffer =>
      content.subarray(index * granuleBytes, (index + 1) * granuleBytes);
    await withClient(this.#export, async (client) => {
      await Promise.all(places.map((offset, index) => client.write(pieceOf(index), offset)));
      process.kill(pid, 'SIGKILL');
    });
    narrator.say(
      `${places.length} blocks of 4 KiB written anew, on dead sectors and on good ones, and then:`,
    );
    narrator.command(`kill -9 ${pid}`);
    const reference = await open(this.#stage.path('backup.img'), 'r+');
    try {
      for (const [index, offset] of places.entries()) {
        await reference.write(pieceOf(index), 0, granuleBytes, offset);
      }
    } finally {
      await reference.close();
    }
    await waitForEnd(pid);
    await this.#stage.dmRemap('ls');
  }

  /** Every block with a dead or once unreadable sector, and as many in between. */
  #lastWordOffsets(): number[] {
    const bad = [...sectorsOf(this.#faults.dead), ...this.#faults.unreadable];
    const blocks = bad.map((sector) => Math.floor((sector * sectorBytes) / granuleBytes));
    const between = Array.from({ length: 20 }, (_, index) => index * 3251 + 17);
    return [...new Set([...blocks, ...between])].map((block) => block * granuleBytes);
  }

  /** One bit on a healthy place of the disk, that no layer of ours can know about. */
  async sabotage(): Promise<void> {
    const offset = 200 * mebibyte + 13;
    this.#stage.narrator.say('', `(sabotage: changing byte ${offset} of main.img)`);
    const image = await open(this.#stage.path('main.img'), 'r+');
    try {
      const byte = Buffer.alloc(1);
      await image.read(byte, 0, 1, offset);
      byte[0]! ^= 1;
      await image.write(byte, 0, 1, offset);
    } finally {
      await image.close();
    }
  }

  async assemble(): Promise<void> {
    this.#stage.narrator.scene('Back again: the table of moves is on the spare');
    const startMs = performance.now();
    await this.#stage.dmRemap('assemble', '--main-table', 'main.table', '--spare', 'spare.img');
    this.#stage.narrator.good(`serving again after ${seconds(startMs)}`);
  }

  async compareEveryByte(): Promise<void> {
    const { narrator } = this.#stage;
    narrator.scene('Every byte');
    await copyFromDevice(this.#stage, this.#export, 'copy.img');
    const result = await compareFiles(this.#stage.path('copy.img'), this.#stage.path('backup.img'));
    if (result.firstDifference !== undefined) {
      throw new StoryFailure(
        `WRONG BYTES: ${result.differentBytes} of ${result.comparedBytes} differ from what was written,`,
        `the first at offset ${result.firstDifference} (sector ${Math.floor(result.firstDifference / sectorBytes)})`,
      );
    }
    expectNumber(result.comparedBytes, mainBytes, 'bytes compared');
    narrator.good(
      `all ${result.comparedBytes} bytes are what was written, the last blocks before the kill too`,
    );
  }

  async remove(): Promise<void> {
    const { narrator } = this.#stage;
    narrator.scene('The end');
    await this.#stage.dmRemap('status', deviceName);
    const { remappedGranules } = await this.#status();
    const dead = sectorsOf(this.#faults.dead).map((sector) =>
      Math.floor((sector * sectorBytes) / granuleBytes),
    );
    expectNumber(remappedGranules, new Set(dead).size, 'blocks on the spare');
    await this.#stage.dmRemap('remove', deviceName);
    expectNumber(
      (await this.#stage.askDmRemap('ls')).trim().length,
      0,
      'characters of "ls" after the removal',
    );
  }

  async #status(): Promise<{ pid: number; remappedGranules: number }> {
    const status: { pid: number; remap: { remappedGranules: number } } = JSON.parse(
      await this.#stage.askDmRemap('status', deviceName, '--json'),
    );
    return { pid: status.pid, remappedGranules: status.remap.remappedGranules };
  }

  async #showMap(): Promise<void> {
    const moved = parseSectorRuns(await this.#stage.askDmRemap('message', deviceName, '0', 'list'));
    const lost = parseSectorRuns(await this.#stage.askDmRemap('message', deviceName, '0', 'lost'));
    const { narrator } = this.#stage;
    const { sectorCount } = this.#faults;
    narrator.say('', ...drawDiskMap({ sectorCount, moved, lost }, narrator.mapStyle));
  }
}

/** Of a request that fails; undefined of one that does not. */
async function errnoOf(request: Promise<void>): Promise<number | undefined> {
  try {
    await request;
    return undefined;
  } catch (error) {
    if (error instanceof NbdRequestError) return error.errno;
    throw error;
  }
}

const endPollMs = 5;
const endDeadlineMs = 5_000;

async function waitForEnd(pid: number): Promise<void> {
  for (let waitedMs = 0; waitedMs < endDeadlineMs; waitedMs += endPollMs) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await sleep(endPollMs);
  }
  throw new StoryFailure(`process ${pid} survived SIGKILL for ${endDeadlineMs} ms`);
}

function countOf(listText: string): number {
  return parseSectorRuns(listText).reduce((sum, [, count]) => sum + count, 0);
}

function seconds(startMs: number): string {
  return `${((performance.now() - startMs) / 1000).toFixed(1)} s`;
}

function expectNumber(found: number, wanted: number, what: string): void {
  if (found !== wanted) throw new StoryFailure(`${what}: ${found}, expected ${wanted}`);
}

function expectText(found: string, wanted: string, what: string): void {
  if (!found.includes(wanted)) throw new StoryFailure(`${what}: ${found.trim()}, expected ${wanted}`);
}

function expectSet(found: readonly number[], wanted: readonly number[], what: string): void {
  const [one, other] = [found, wanted].map((list) => [...new Set(list)].toSorted((a, b) => a - b).join(' '));
  if (one !== other) throw new StoryFailure(`${what}: ${one}`, `expected: ${other}`);
}
