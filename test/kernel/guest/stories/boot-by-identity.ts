import assert from 'node:assert/strict';
import { ExitCode } from '../../../../src/cli/exit-code.ts';
import { pattern } from '../../../end-to-end/device-lab.ts';
import { mustRunTool } from '../../../end-to-end/foreign-tool.ts';
import { BlockLab } from '../block-lab.ts';

const granuleBytes = 4096;
const movedOffset = 8 * granuleBytes;

/** The names of this boot alone. */
export interface FirstBoot {
  readonly main: string;
  readonly spare: string;
  readonly foreignMain: string;
  readonly foreignSpare: string;
}

/** Two devices on four disks; one of the first device's blocks is newer on its spare than on main. */
export async function makeForBoot({ main, spare, foreignMain, foreignSpare }: FirstBoot): Promise<string> {
  return await BlockLab.use(async ({ lab }) => {
    await lab.mustRun('create', 'disk', '--main', main, '--spare', spare);
    await lab.mustRun('create', 'other', '--main', foreignMain, '--spare', foreignSpare);
    const client = await lab.connect('disk');
    await client.write(pattern(movedOffset, granuleBytes, 1), movedOffset);
    await lab.mustRun('message', 'disk', '0', 'remap', String(movedOffset / 512), '8');
    await client.write(pattern(movedOffset, granuleBytes, 2), movedOffset);
    await client.disconnect();
    await lab.mustRun('remove', 'disk');
    await lab.mustRun('remove', 'other');
    return 'two devices, one block moved and written again';
  });
}

/** Where the same disks are after the next boot. */
export interface NextBoot {
  readonly main: string;
  readonly spare: string;
  readonly copy: string;
  readonly foreignSpare: string;
}

interface Told {
  readonly name: string;
  readonly result: string;
  readonly sparePath: string;
  readonly mainPath: string;
  readonly why: string;
}

/** M12, M15: every disk has another name, the spare a copy, and a main is not there. */
export async function findAfterBoot(disks: NextBoot): Promise<string> {
  return await BlockLab.use(async (guest) => {
    const { lab } = guest;
    const { output, errors } = await lab.run('assemble', '--all', '--json');
    assert.notEqual(output, '', errors);
    const told = new Map((JSON.parse(output) as Told[]).map((one) => [one.name, one]));
    assert.deepEqual([...told.keys()], ['disk', 'other'], output);
    const found = told.get('disk')!;
    assert.equal(found.result, 'started', output);
    assert.deepEqual([found.sparePath, found.mainPath], [disks.spare, disks.main]);
    assert.match(found.why, /1 other disk with a copy/);
    assert.equal(told.get('other')!.result, 'waiting', output);
    const client = await lab.connect('disk');
    const bytes = new Uint8Array(granuleBytes);
    await client.read(bytes, movedOffset);
    assert.deepEqual(bytes, pattern(movedOffset, granuleBytes, 2), 'the bytes that were acknowledged last');
    await client.disconnect();
    await lab.mustFail(ExitCode.refused, /is a copy of a spare/, 'assemble', 'again', '--spare', disks.copy);
    await lab.mustRun('remove', 'disk');
    await rollBack(guest, disks);
    await writeRawMain(guest, disks);
    return `${found.why}; ${told.get('other')!.why}`;
  });
}

/** M12: an older state of the spare is put back. */
async function rollBack({ lab }: BlockLab, { spare }: NextBoot): Promise<void> {
  const copyTo = (from: string, to: string): Promise<string> =>
    mustRunTool('dd', `if=${from}`, `of=${to}`, 'bs=1M', 'conv=fsync', 'status=none');
  await copyTo(spare, lab.path('older'));
  await lab.mustRun('assemble', 'disk');
  await lab.mustRun('message', 'disk', '0', 'remap', '4096', '8');
  await lab.mustRun('remove', 'disk');
  await copyTo(spare, lab.path('newest'));
  await copyTo(lab.path('older'), spare);
  await lab.mustFail(ExitCode.refused, /spare-rolled-back/, 'assemble', 'disk');
  await copyTo(lab.path('newest'), spare);
}

/** M15: somebody writes to main behind the device's back. */
async function writeRawMain({ lab }: BlockLab, { main }: NextBoot): Promise<void> {
  await mustRunTool(
    'dd',
    'if=/dev/urandom',
    `of=${main}`,
    'bs=1M',
    'count=32',
    'conv=fsync,notrunc',
    'status=none',
  );
  await lab.mustFail(ExitCode.refused, /main-changed/, 'assemble', 'disk');
}
