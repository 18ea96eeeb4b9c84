import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readFileSync, writeFileSync } from 'node:fs';
import { afterEach, beforeEach, describe, test } from 'node:test';
import { ExitCode } from '../../src/cli/exit-code.ts';
import { planLayout } from '../../src/metadata/layout.ts';
import type { NbdClient } from '../../src/nbd/client.ts';
import { type BadRun, exportUri, spreadBadSectors } from './bad-disk.ts';
import { DeviceLab, fileHash, pattern } from './device-lab.ts';
import { dustTable, FailingDisk, missingForFailingDisks } from './failing-disk.ts';
import { missingTool, mustRunTool } from './foreign-tool.ts';
import { assertNothingLeftOver } from './nothing-left-over.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 64 * mebibyte;
const spareBytes = 40 * mebibyte;
const sectorBytes = 512;
const mainSectors = mainBytes / sectorBytes;

/** Sectors at the very start, two bad in one block, a run over several blocks, some spread, and the last one of all. */
const bad: readonly BadRun[] = [
  [0, 1],
  [2, 1],
  [1000, 2],
  [20_001, 12],
  ...spreadBadSectors('real-errors', 40, 30_000, mainSectors - 100),
  [mainSectors - 1, 1],
];
const badSectors = bad.flatMap(([first, count]) =>
  Array.from({ length: count }, (_, index) => first + index),
);

/** How long requests wait for a path that died: 15 s is the default, and what a test that is one of hundreds cannot wait. */
const patienceMs = 3_000;
const shortPatience = ['--path-timeout', String(patienceMs / 1000)] as const;

/** What `status --json` says of the remap target. */
interface Remap {
  readonly state: string;
  readonly granuleBytes: number;
  readonly remappedGranules: number;
  readonly unreadableSectors: number;
  readonly goneSectors: number;
  readonly slotsRetired: number;
  readonly replicasValid: number;
  readonly replicasTotal: number;
}

const skip = missingForFailingDisks() || missingTool('nbdcopy', 'qemu-io');

describe('errors of the kernel’s own block layer', { skip, timeout: 240_000 }, () => {
  let lab: DeviceLab;
  let main: FailingDisk;
  let spare: FailingDisk;
  /** Attached and not yet detached. */
  let disks: FailingDisk[];
  let source: string;

  async function attach(name: string, sizeBytes: number): Promise<FailingDisk> {
    const disk = await FailingDisk.attach(
      lab,
      name,
      dustTable(lab.image(`${name}.img`, sizeBytes), sizeBytes),
    );
    disks.push(disk);
    return disk;
  }

  beforeEach(async () => {
    lab = new DeviceLab();
    disks = [];
    source = lab.path('source.img');
    main = await attach('main', mainBytes);
    spare = await attach('spare', spareBytes);
  });

  afterEach(async () => {
    try {
      await lab.run('remove', 'disk');
      const leftovers = lab.leftovers();
      // Ends what a failed test left: else a process keeps a loop device, and the loop device everything below it.
      for (const name of leftovers) await lab.kill(name).catch(() => undefined);
      for (const disk of disks.reverse()) await disk.close();
      assert.deepEqual(leftovers, []);
      assertNothingLeftOver(lab.folder);
    } finally {
      await lab.close();
    }
  });

  const create = (...more: readonly string[]): Promise<string> =>
    lab.mustRun('create', 'disk', '--main', main.path, '--spare', spare.path, ...more);

  async function killAndAssemble(): Promise<void> {
    await lab.kill('disk');
    await assemble();
  }

  /** M15: a loop device has neither WWN nor serial, so it has to be named. */
  const assemble = (): Promise<string> => lab.mustRun('assemble', '--spare', spare.path, '--main', main.path);

  async function remap(): Promise<Remap> {
    const status: { remap: Remap } = JSON.parse(await lab.mustRun('status', 'disk', '--json'));
    return status.remap;
  }

  /** The numbers of each line of a message's answer. */
  async function lines(...message: readonly string[]): Promise<number[][]> {
    const text = await lab.mustRun('message', 'disk', '0', ...message);
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => line.split(' ').slice(0, 3).map(Number));
  }

  /** The blocks that `list` names, each once, ascending. */
  async function moved(granuleBytes: number): Promise<number[]> {
    const granules = (await lines('list', 'blocks')).map(([sector]) => blockOf(sector!, granuleBytes));
    return [...new Set(granules)].toSorted((left, right) => left - right);
  }

  async function lostSectors(): Promise<number[]> {
    return (await lines('lost')).flatMap(([first, count]) =>
      Array.from({ length: count! }, (_, index) => first! + index),
    );
  }

  /** Fills the export with chance bytes, through a client of somebody else. */
  async function fill(): Promise<void> {
    writeFileSync(source, randomBytes(mainBytes));
    await mustRunTool('nbdcopy', source, exportUri(lab, 'disk'));
  }

  async function assertFilled(): Promise<void> {
    const copy = lab.path('copy.img');
    await mustRunTool('nbdcopy', exportUri(lab, 'disk'), copy);
    assert.equal(await fileHash(copy), await fileHash(source));
  }

  test('I17 R15 a main with bad sectors: reads lose exactly those, writes move exactly their blocks, kill forgets none', async () => {
    await main.addBad(bad);
    await create();
    const { granuleBytes } = await remap();
    const badBlocks = blocksOf(badSectors, granuleBytes);

    const client = await lab.connect('disk');
    assert.deepEqual(
      await unreadableSectors(client, granuleBytes),
      badSectors,
      'EIO for the bad ones, and no other',
    );
    assert.ok(main.failures > badSectors.length, 'the kernel has given errors');
    assert.deepEqual(await lostSectors(), badSectors);
    assert.deepEqual(await moved(granuleBytes), []);
    await client.disconnect();

    await fill();
    assert.deepEqual(await moved(granuleBytes), badBlocks);
    assert.deepEqual(await lostSectors(), []);
    const status = await remap();
    assert.equal(status.remappedGranules, badBlocks.length);
    assert.equal(status.state, 'ok');
    await assertFilled();

    await killAndAssemble();
    assert.deepEqual(await moved(granuleBytes), badBlocks);
    await assertFilled();
    const image = readFileSync(lab.path('main.img'));
    const wanted = readFileSync(source);
    const onMain = (block: number): boolean => !badBlocks.includes(block);
    for (let block = 0; block < mainBytes / granuleBytes; block += 1) {
      const [from, to] = [block * granuleBytes, (block + 1) * granuleBytes];
      if (onMain(block))
        assert.ok(image.subarray(from, to).equals(wanted.subarray(from, to)), `block ${block} is on main`);
    }
  });

  test('a main that gets worse while qemu-io writes', async () => {
    await create();
    const { granuleBytes } = await remap();
    await fill();
    const uri = exportUri(lab, 'disk');
    await main.addBad([
      [4096, 3],
      [50_000, 1],
    ]);
    const patterns = [
      'write -P 0x5a 2M 1M',
      'write -f -P 0x6b 25600000 64k',
      'write -P 0x7c 40M 512',
      'flush',
    ];
    const checks = ['read -P 0x5a 2M 1M', 'read -P 0x6b 25600000 64k', 'read -P 0x7c 40M 512'];
    const words = (commands: readonly string[]): string[] => commands.flatMap((command) => ['-c', command]);
    await mustRunTool('qemu-io', '-f', 'raw', ...words(patterns), ...words(checks), uri);
    assert.deepEqual(await moved(granuleBytes), blocksOf([4096, 4097, 4098, 50_000], granuleBytes));
    await killAndAssemble();
    const said = await mustRunTool('qemu-io', '-f', 'raw', ...words(checks), uri);
    assert.doesNotMatch(said, /failed|error/i);
  });

  test('I17 writes that the kernel joins into one do not share the fate of the bad one among them', async () => {
    await create();
    const { granuleBytes } = await remap();
    const client = await lab.connect('disk');
    const writesAtOnce = 64;
    const badSectorsHere: number[] = [];
    for (let round = 0; round < 12; round += 1) {
      const offset = round * mebibyte;
      const sectors = [10 + round, 40].map((block) => (offset + block * granuleBytes) / sectorBytes);
      badSectorsHere.push(...sectors);
      await main.addBad(sectors.map((sector) => [sector, 1]));
      const at = (block: number): number => offset + block * granuleBytes;
      const writes = Array.from({ length: writesAtOnce }, (_, block) =>
        client.write(pattern(at(block), granuleBytes, round), at(block)),
      );
      await Promise.all(writes);
      const bytes = new Uint8Array(writesAtOnce * granuleBytes);
      await client.read(bytes, offset);
      assert.ok(Buffer.from(bytes).equals(pattern(offset, bytes.length, round)));
    }
    assert.deepEqual(await moved(granuleBytes), blocksOf(badSectorsHere, granuleBytes));
    await client.disconnect();
  });

  test('M9 R5 a spare with bad slots: they are retired, no byte is lost, and what a used one loses is gone and named', async () => {
    await main.addBad(bad);
    await create();
    const { granuleBytes } = await remap();
    const perBlock = granuleBytes / sectorBytes;
    await lab.mustRun('message', 'disk', '0', 'remap', '90000');
    const first = (await lines('list', 'blocks'))[0]![2]!;
    // Of the slots that come next some are bad as a whole and some in one sector.
    const badSlots: readonly BadRun[] = [
      [blockOf(first, granuleBytes) * perBlock + perBlock, perBlock],
      [blockOf(first, granuleBytes) * perBlock + 5 * perBlock, 1],
      [blockOf(first, granuleBytes) * perBlock + 9 * perBlock + perBlock - 1, 1],
    ];
    await spare.addBad(badSlots);
    await fill();
    assert.ok(spare.failures > 0, 'the spare has failed');
    // Behind a bad slot the search goes on in another region (R5): the others may never be met.
    const { slotsRetired } = await remap();
    assert.ok(slotsRetired >= 1 && slotsRetired <= badSlots.length, `${slotsRetired} slots retired`);
    await assertFilled();
    await killAndAssemble();
    await assertFilled();
    const used = (await lines('list', 'blocks')).map(([, , slot]) => blockOf(slot!, granuleBytes));
    for (const [sector] of badSlots)
      assert.ok(!used.includes(blockOf(sector, granuleBytes)), `slot of ${sector}`);
    assert.equal((await remap()).slotsRetired, slotsRetired, 'also after a kill');

    // A slot in use goes bad: those sectors are lost, and main's older ones never come back.
    const [mainSector, , spareSector] = (await lines('list', 'blocks')).find(([sector]) => sector! > 30_000)!;
    await spare.addBad([[spareSector!, 1]]);
    const client = await lab.connect('disk');
    const block = blockOf(mainSector!, granuleBytes);
    assert.deepEqual(await failedSectorsOf(client, block, granuleBytes), [mainSector]);
    assert.equal((await remap()).goneSectors, 1);
    await killAndAssemble();
    const again = await lab.connect('disk');
    assert.deepEqual(await failedSectorsOf(again, block, granuleBytes), [mainSector]);
    await again.write(pattern(mainSector! * sectorBytes, sectorBytes, 3), mainSector! * sectorBytes);
    assert.deepEqual(await failedSectorsOf(again, block, granuleBytes), []);
    assert.equal((await remap()).goneSectors, 0);
    await again.disconnect();
    const wanted = readFileSync(source);
    wanted.set(pattern(mainSector! * sectorBytes, sectorBytes, 3), mainSector! * sectorBytes);
    writeFileSync(source, wanted);
    await assertFilled();
  });

  test('M2 a spare with a replica that cannot be written goes on with the others, and takes it back when it is good', async () => {
    await main.addBad(bad);
    await create();
    const { granuleBytes, replicasTotal } = await remap();
    const { replicas, journalBlocks } = planLayout(spareBytes, mainBytes, granuleBytes);
    assert.equal(replicas.length, replicasTotal);
    const journalSectors = journalBlocks * 8;
    await spare.addBad(
      replicas[0]!.journalOffsets.map((offset) => [offset / sectorBytes, journalSectors] as const),
    );
    await fill();
    assert.ok(spare.failures > 0, 'the spare has failed');
    assert.equal((await remap()).replicasValid, replicasTotal - 1);
    await assertFilled();
    await killAndAssemble();
    await assertFilled();
    await spare.heal();
    await killAndAssemble();
    assert.equal((await remap()).replicasValid, replicasTotal);
    await assertFilled();
  });

  test('R14 a main whose path dies: EIO, no remap, nothing marked, a live daemon, and a bounded remove', async () => {
    await main.addBad(bad);
    await create(...shortPatience);
    const { granuleBytes } = await remap();
    await fill();
    const before = await moved(granuleBytes);
    const client = await lab.connect('disk');
    const bytes = new Uint8Array(mebibyte);
    // The last good probe is a moment old when the path goes.
    await main.addBad([[60_000, 1]]);
    await client.write(pattern(60_000 * sectorBytes, sectorBytes, 1), 60_000 * sectorBytes);
    await main.die();
    const diedMs = Date.now();
    const offsets = Array.from({ length: 16 }, (_, index) => index * 4 * mebibyte);
    const answers = await Promise.allSettled([
      ...offsets.map((offset) => client.write(pattern(offset, mebibyte, 2), offset)),
      ...offsets.map((offset) => client.read(bytes, offset + 2 * mebibyte)),
    ]);
    for (const answer of answers)
      assert.match(answer.status === 'rejected' ? String(answer.reason) : 'good', /EIO/);
    assert.ok(Date.now() - diedMs >= patienceMs, 'not before the path had its time to come back');
    const status = await remap();
    assert.equal(status.state, 'main-failed');
    assert.equal(status.unreadableSectors + status.goneSectors, 0);
    assert.deepEqual(
      await moved(granuleBytes),
      [...before, ...blocksOf([60_000], granuleBytes)].toSorted((left, right) => left - right),
    );
    // What is on the spare is still served.
    const spared = before[3]! * granuleBytes;
    await client.read(
      bytes.subarray(0, sectorBytes),
      badSectors.find((sector) => blockOf(sector, granuleBytes) * granuleBytes === spared)! * sectorBytes,
    );
    const startMs = Date.now();
    const removed = await lab.run('remove', 'disk', '--force');
    assert.ok(Date.now() - startMs < 20_000, 'bounded');
    assert.notEqual(removed.exitCode, ExitCode.ok, `a flush that failed is told: ${removed.output}`);
    assert.deepEqual(lab.leftovers(), []);
  });

  test('R36 a disk that hangs keeps nobody from creating another device', async () => {
    await main.freeze();
    try {
      const names = ['other.img', 'other-spare.img'] as const;
      lab.image(names[0], mainBytes);
      lab.image(names[1], spareBytes);
      const startMs = Date.now();
      await lab.mustRun('create', 'disk', '--main', names[0], '--spare', names[1]);
      await lab.mustRun('remove', 'disk');
      await lab.mustRun('create', 'disk', '--main', names[0], '--spare', spare.path);
      await lab.mustRun('remove', 'disk');
      assert.ok(Date.now() - startMs < 20_000);
    } finally {
      main.thaw();
    }
  });

  test('R5 a spare whose path dies: main goes on, nothing is declared gone, and all is there when it comes back', async () => {
    await main.addBad(bad);
    await create(...shortPatience);
    const { granuleBytes } = await remap();
    await fill();
    const before = await lines('list', 'blocks');
    const client = await lab.connect('disk');
    const bytes = new Uint8Array(sectorBytes);
    await client.read(bytes, badSectors[0]! * sectorBytes);
    await spare.die();
    for (const sector of badSectors) await assert.rejects(client.read(bytes, sector * sectorBytes), /EIO/);
    assert.equal((await remap()).goneSectors, 0);
    assert.equal((await remap()).slotsRetired, 0);
    await client.write(readFileSync(source).subarray(10 * mebibyte, 11 * mebibyte), 10 * mebibyte);
    await assert.rejects(client.write(bytes, badSectors[0]! * sectorBytes), /EIO/);
    const startMs = Date.now();
    await lab.run('remove', 'disk', '--force');
    assert.ok(Date.now() - startMs < 30_000, 'bounded');
    assert.deepEqual(lab.leftovers(), []);

    const dead = disks.indexOf(spare);
    const diedAt = spare.path;
    await disks.splice(dead, 1)[0]!.close();
    const table = dustTable(lab.path('spare.img'), spareBytes);
    spare = await FailingDisk.attach(lab, 'spare-again', table);
    disks.push(spare);
    // M12: known by its place alone, it is a copy anywhere else.
    if (spare.path !== diedAt) await lab.mustRun('adopt', spare.path);
    await assemble();
    assert.deepEqual(await lines('list', 'blocks'), before);
    assert.ok(granuleBytes > 0);
    await assertFilled();
  });
});

function blockOf(sector: number, granuleBytes: number): number {
  return Math.floor((sector * sectorBytes) / granuleBytes);
}

function blocksOf(sectors: readonly number[], granuleBytes: number): number[] {
  return [...new Set(sectors.map((sector) => blockOf(sector, granuleBytes)))];
}

/** Sectors that cannot be read: of pieces that fail each sector is asked. */
async function unreadableSectors(client: NbdClient, granuleBytes: number): Promise<number[]> {
  const failed: number[] = [];
  const bytes = new Uint8Array(mebibyte);
  for (let offset = 0; offset < mainBytes; offset += bytes.length) {
    if (await isRead(client, bytes, offset)) continue;
    for (let at = offset; at < offset + bytes.length; at += granuleBytes) {
      failed.push(...(await failedSectorsOf(client, at / granuleBytes, granuleBytes)));
    }
  }
  return failed;
}

async function failedSectorsOf(client: NbdClient, block: number, granuleBytes: number): Promise<number[]> {
  if (await isRead(client, new Uint8Array(granuleBytes), block * granuleBytes)) return [];
  const failed: number[] = [];
  for (let at = block * granuleBytes; at < (block + 1) * granuleBytes; at += sectorBytes) {
    if (!(await isRead(client, new Uint8Array(sectorBytes), at))) failed.push(at / sectorBytes);
  }
  return failed;
}

async function isRead(client: NbdClient, bytes: Uint8Array, offset: number): Promise<boolean> {
  try {
    await client.read(bytes, offset);
    return true;
  } catch (error) {
    assert.match(String(error), /EIO/);
    return false;
  }
}
