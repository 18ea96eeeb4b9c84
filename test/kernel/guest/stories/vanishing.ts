import assert from 'node:assert/strict';
import { setTimeout as sleep } from 'node:timers/promises';
import type { FileDevice } from '../../../../src/io/file-device.ts';
import { pattern } from '../../../end-to-end/device-lab.ts';
import type { VanishingWay } from '../../story-plan.ts';
import { BlockLab, mebibyte, sectorBytes } from '../block-lab.ts';
import { MappedDisk, tableOver } from '../mapped-disk.ts';
import { scsiDisks } from '../scsi-disks.ts';
import { SteadyTraffic } from '../steady-traffic.ts';

const diskMebibytes = 64;
const sectorCount = (diskMebibytes * mebibyte) / sectorBytes;
/** A disk that shrank has these. */
const sectorsLeft = 8;
/** Of the traffic, before a disk goes and after it came back. */
const blocksBetween = 100;
/** In bytes; nobody writes there. */
const idleArea = { offset: 32 * mebibyte, length: mebibyte } as const;
const awayMs = 1500;
const noticeMsMax = 20_000;
const noticeIntervalMs = 20;
const pathTimeoutSeconds = 2;
const answerMsMax = 15_000;
const backAttemptsMax = 100;
const backIntervalMs = 100;
/** Sectors before those that traffic writes; the first two are on the spare. */
const own = [8, 9, 200, 201] as const;
const ownOnSpare = 2;
/** What traffic writes; one block in sixteen of it is on the spare, so that both disks are met all the time. */
const area = { firstSector: 2048, sectorCount: 2048 } as const;
const movedFirst = 2560;
const movedCount = 128;

/** Away and back: how a disk goes, and which one. */
interface Way {
  readonly disk: 'main' | 'spare';
  readonly away: () => Promise<void> | void;
  readonly back: () => Promise<void> | void;
}

interface Disks {
  readonly main: string;
  readonly spare: string;
  readonly ways: Readonly<Partial<Record<VanishingWay, Way>>>;
}

/**
 * R14 to R17, R32: a disk that vanishes under traffic, and is there again, costs waiting: no error, no remap, nothing lost. One
 * that stays away costs EIO in bounded time, and nothing else.
 */
export async function vanishing(ways: readonly VanishingWay[]): Promise<string> {
  const scsi = ways.filter((way) => way.startsWith('scsi'));
  const mapped = ways.filter((way) => way.startsWith('mapped'));
  const seen: string[] = [];
  if (scsi.length > 0) seen.push(await BlockLab.use(async (lab) => play(lab, await ofScsi(), scsi)));
  if (mapped.length > 0) seen.push(await BlockLab.use(async (lab) => play(lab, await ofMapped(lab), mapped)));
  return seen.join('; ');
}

async function ofScsi(): Promise<Disks> {
  const [main, spare] = await scsiDisks(2, diskMebibytes);
  assert.ok(main !== undefined && spare !== undefined);
  return {
    main: main.path,
    spare: spare.path,
    ways: {
      'scsi main pulled': { disk: 'main', away: () => main.pull(), back: () => main.plugIn() },
      'scsi main offline': {
        disk: 'main',
        away: () => main.setOffline(true),
        back: () => main.setOffline(false),
      },
      'scsi spare pulled': { disk: 'spare', away: () => spare.pull(), back: () => spare.plugIn() },
    },
  };
}

/** Of device-mapper: no world-wide name and no serial, but it never leaves the kernel. */
async function ofMapped(lab: BlockLab): Promise<Disks> {
  const below = await lab.loop('vanishing-main.img', diskMebibytes * mebibyte);
  const whole = tableOver(below, sectorCount, []);
  const main = await lab.keep(MappedDisk.create(`${lab.prefix}vanishing`, whole));
  const back = (): Promise<void> => main.reload(whole);
  return {
    main: main.path,
    spare: await lab.loop('vanishing-spare.img', diskMebibytes * mebibyte),
    ways: {
      // All that is behind the end is ENOSPC, EINVAL, or no byte: what a disk without a size answers.
      'mapped main shrunk': {
        disk: 'main',
        away: () => main.reload(tableOver(below, sectorsLeft, [])),
        back,
      },
      // As `dmsetup wipe_table`, and `remove --force` of a disk in use.
      'mapped main wiped': { disk: 'main', away: () => main.reload(`0 ${sectorCount} error`), back },
    },
  };
}

async function play(
  lab: BlockLab,
  { main, spare, ways }: Disks,
  chosen: readonly VanishingWay[],
): Promise<string> {
  await lab.create(main, spare);
  const seen: string[] = [];
  await lab.within(async () => {
    const device = await lab.open(await lab.attachment.attach());
    for (const sector of own) await device.write(bytesOf(sector), sector * sectorBytes);
    await device.flush();
    await lab.message('remap', String(own[0]), String(ownOnSpare));
    await lab.message('remap', String(movedFirst), String(movedCount));
    const held = await lab.held();
    assert.equal(held.size, ownOnSpare + movedCount);
    for (const name of chosen) {
      const way = ways[name]!;
      seen.push(`${name}: ${await underTraffic(lab, way, device)}`);
      assert.deepEqual(await lab.held(), held, `${name}: nothing else is moved`);
    }
    seen.push(await stayingAway(lab, ways[chosen[0]!]!, device));
    assert.deepEqual(await lab.held(), held, 'nothing else is moved');
    const bytes = new Uint8Array(sectorBytes);
    for (const sector of own) {
      await device.read(bytes, sector * sectorBytes);
      assert.deepEqual(bytes, bytesOf(sector));
    }
  });
  await lab.attachment.undoAll();
  await lab.lab.mustRun('remove', 'disk');
  return seen.join('; ');
}

function bytesOf(sector: number): Uint8Array {
  return pattern(sector * sectorBytes, sectorBytes, 1);
}

async function underTraffic(lab: BlockLab, way: Way, device: FileDevice): Promise<string> {
  const traffic = new SteadyTraffic(device, area);
  await traffic.until(blocksBetween);
  await goAway(lab, way);
  // What may be left undone may fail, and must end.
  const discarded = device.discard(idleArea.offset, idleArea.length).catch(() => undefined);
  await sleep(awayMs);
  await way.back();
  await discarded;
  await traffic.until(blocksBetween);
  await traffic.stop();
  await assertNothingLost(lab);
  // What was not flushed may have been in its cache when it went: that is told, once (R7).
  const told = await device.flush().then(
    () => false,
    () => true,
  );
  await device.flush();
  return (
    `${traffic.blocks} blocks written and read, 0 errors, the slowest ${(traffic.slowestMs / 1000).toFixed(1)} s` +
    `${told ? ', its next flush an error' : ''}`
  );
}

/** Longer than requests are held: they get EIO, and good answers again when it is back. */
async function stayingAway(lab: BlockLab, way: Way, device: FileDevice): Promise<string> {
  await lab.message('policy', 'path-timeout', String(pathTimeoutSeconds));
  await way.away();
  const startMs = performance.now();
  // A sector of main, and one of the spare; each of them waits for no other.
  const sector = way.disk === 'main' ? own[ownOnSpare] : own[0];
  await assert.rejects(device.write(bytesOf(sector), sector * sectorBytes), 'it is away');
  const waitedMs = performance.now() - startMs;
  assert.ok(waitedMs > pathTimeoutSeconds * 500 && waitedMs < answerMsMax, `${Math.round(waitedMs)} ms`);
  await way.back();
  for (let attempt = 1; ; attempt += 1) {
    try {
      await device.write(bytesOf(sector), sector * sectorBytes);
      break;
    } catch (error) {
      assert.ok(attempt < backAttemptsMax, `it does not come back: ${String(error)}`);
      await sleep(backIntervalMs);
    }
  }
  await assertNothingLost(lab);
  return `EIO after ${(waitedMs / 1000).toFixed(1)} s when it stays away, and well again behind it`;
}

async function assertNothingLost(lab: BlockLab): Promise<void> {
  const { remap } = await lab.status();
  assert.deepEqual(
    [remap.unreadableSectors, remap.goneSectors, remap.slotsRetired],
    [0, 0, 0],
    'nothing is lost, and no slot is',
  );
}

/** Until the device says that it waits for it. */
async function goAway(lab: BlockLab, { disk, away }: Way): Promise<void> {
  await away();
  const endMs = performance.now() + noticeMsMax;
  for (;;) {
    const { state } = (await lab.status()).remap;
    if (state === `${disk}-failed`) return;
    assert.ok(performance.now() < endMs, `nobody notices: ${state}`);
    await sleep(noticeIntervalMs);
  }
}
