import assert from 'node:assert/strict';
import { IoFlags } from '../../../../src/block/block-device.ts';
import type { FileDevice } from '../../../../src/io/file-device.ts';
import { SeededRandom } from '../../../../src/simulator/seeded-random.ts';
import { spreadBadSectors } from '../../../end-to-end/bad-disk.ts';
import { fillSectors } from '../../../end-to-end/sector-versions.ts';
import type { Acknowledged } from '../../story-plan.ts';
import { BlockLab, mebibyte, sectorBytes } from '../block-lab.ts';
import { report } from '../report.ts';
import { TracedDisk } from '../traced-disk.ts';

/** Images of the host: what they hold is there at the next boot. */
const mainBelow = '/dev/ubda';
const spare = '/dev/ubdb';
export const cutMainBytes: number = 64 * mebibyte;
const sectorCount = cutMainBytes / sectorBytes;
const badCount = 400;
/** Writes are at these sectors alone, half of them bad. */
const candidateCount = 800;
const writersAtOnce = 4;
/** More than any version of one boot. */
export const versionsPerBoot = 1_000_000;

export interface CutPlan {
  /** Counts from 1; each boot writes versions of its own. */
  readonly round: number;
  readonly acknowledged: readonly Acknowledged[];
}

/** Writes and acknowledges until the power goes. In the first boot the device is made, in the others assembled. */
export async function writeUntilCut({ round, acknowledged }: CutPlan): Promise<string> {
  const disks = BlockLab.open();
  const main = await badMain(disks);
  if (round === 1) await disks.create(main.path, spare);
  else await disks.lab.mustRun('assemble', '--main', main.path, '--spare', spare);
  const device = await disks.open(await disks.attachment.attach());
  await checkAll(device, acknowledged, round);
  const random = new SeededRandom(`cut ${round}`);
  const candidates = candidateSectors();
  let version = round * versionsPerBoot;
  const writer = async (index: number): Promise<never> => {
    const own = candidates.filter((_, at) => at % writersAtOnce === index);
    for (;;) {
      const sector = random.pick(own);
      version += 1;
      const mine = version;
      await device.write(sectorOf(sector, mine), sector * sectorBytes, IoFlags.fua);
      report({ kind: 'acknowledged', sector, version: mine });
    }
  };
  return await Promise.race(Array.from({ length: writersAtOnce }, (_, index) => writer(index)));
}

/** After another boot: every acknowledged write is there. Leaves the device as it is: the machine is turned off with it. */
export async function checkAfterBoot({ round, acknowledged }: CutPlan): Promise<string> {
  assert.ok(acknowledged.length > 0);
  const disks = BlockLab.open();
  const main = await badMain(disks);
  const said = await disks.lab.mustRun('assemble', '--main', main.path, '--spare', spare);
  const device = await disks.open(await disks.attachment.attach());
  await checkAll(device, acknowledged, round);
  const held = await disks.held();
  const bad = new Set(main.wornSectors);
  const moved = acknowledged.filter(([sector]) => bad.has(sector));
  assert.deepEqual(
    moved.filter(([sector]) => !held.has(sector)),
    [],
    'every acknowledged remap is there',
  );
  return `${acknowledged.length} sectors as acknowledged, ${moved.length} of them remapped; assemble said: ${said.split('\n')[0]}`;
}

async function badMain(disks: BlockLab): Promise<TracedDisk> {
  const main = await TracedDisk.create('main', mainBelow, sectorCount, { isTraced: false });
  await main.wearOut(badSectors(), 'everything');
  assert.ok(disks.lab.leftovers().length === 0);
  return main;
}

/** What was acknowledged, or what was on its way when the power went. */
async function checkAll(
  device: FileDevice,
  acknowledged: readonly Acknowledged[],
  round: number,
): Promise<void> {
  for (const [sector, version] of acknowledged) {
    const words = new Uint32Array(sectorBytes / 4);
    await device.read(new Uint8Array(words.buffer), sector * sectorBytes);
    const found = words[1]!;
    assert.deepEqual(new Uint8Array(words.buffer), sectorOf(sector, found), `sector ${sector} is whole`);
    const isLater = found > version && found <= (round + 1) * versionsPerBoot;
    assert.ok(found === version || isLater, `sector ${sector} holds ${found}, acknowledged was ${version}`);
  }
}

function badSectors(): number[] {
  return spreadBadSectors('cut', badCount, 0, sectorCount).map(([sector]) => sector);
}

function candidateSectors(): number[] {
  const good = spreadBadSectors('cut good', candidateCount, 0, sectorCount).map(([sector]) => sector);
  return [...badSectors(), ...good].slice(0, candidateCount);
}

function sectorOf(sector: number, version: number): Uint8Array {
  const words = new Uint32Array(sectorBytes / 4);
  fillSectors(words, sector, version);
  return new Uint8Array(words.buffer);
}
