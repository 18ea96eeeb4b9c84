import { setTimeout as sleep } from 'node:timers/promises';
import { HostState } from '../device/host/host-state.ts';
import { stateDirectory } from '../device/host/state-directory.ts';
import { SetupError, type SetupReason } from '../device/setup-error.ts';
import { type Assembly, type AssemblyVerdict, planAssembly } from '../device/spare/plan-assembly.ts';
import { SpareScan } from '../device/spare/scan-spares.ts';
import { findSpares, type ScannedSpare } from './verbs/scan.ts';

/** Looking at every disk again costs a few reads of each. */
const lookAgainMs = 2_000;

const reasonOf: Readonly<Record<Exclude<AssemblyVerdict, 'start'>, SetupReason>> = {
  wait: 'not-found',
  served: 'busy',
  refused: 'refused',
};

/** What all disks of this machine, and the images that this host remembers as spares, say of the devices on them. */
export async function planMachine(): Promise<readonly Assembly[]> {
  const scan = new SpareScan();
  try {
    return await planNow(scan);
  } finally {
    await scan.close();
  }
}

async function planNow(scan: SpareScan): Promise<readonly Assembly[]> {
  return planAssembly([...(await spares([], scan)), ...(await rememberedImages(scan))]);
}

function spares(paths: readonly string[], scan: SpareScan): Promise<readonly ScannedSpare[]> {
  return findSpares(paths, (asked) => scan.look(asked));
}

/** Nothing finds a file by looking at disks: only who has served it knows where it is. */
async function rememberedImages(scan: SpareScan): Promise<readonly ScannedSpare[]> {
  const directory = stateDirectory();
  if (directory === undefined) return [];
  const headers = await new HostState(directory).listTables();
  const images = headers
    .filter(({ spareIdentity }) => spareIdentity['kind'] === 'file')
    .map(({ spareIdentity }) => spareIdentity['path'] ?? '')
    .filter((path) => path !== '');
  return images.length === 0 ? [] : await spares([...new Set(images)], scan);
}

/**
 * The device of this name or UUID, by what is on the disks; disks that are not there yet are waited for. Throws `SetupError` when it
 * may not be started without a person.
 */
export async function locateDevice(nameOrUuid: string, waitSeconds: number): Promise<Assembly> {
  // The process that looks here is the one that serves later: what hangs must not cost it more with each look.
  const scan = new SpareScan();
  try {
    return await locate(scan, nameOrUuid, Date.now() + waitSeconds * 1000);
  } finally {
    await scan.close();
  }
}

async function locate(scan: SpareScan, nameOrUuid: string, endMs: number): Promise<Assembly> {
  for (;;) {
    const plan = await planNow(scan);
    const found = plan.find(({ name, uuid }) => name === nameOrUuid || uuid === nameOrUuid);
    if (found?.verdict === 'start') return found;
    const isLate = found === undefined || found.verdict === 'wait';
    if (isLate && Date.now() < endMs) {
      await sleep(lookAgainMs);
      continue;
    }
    if (found !== undefined) throw new SetupError(reasonOf[found.verdict], `${nameOrUuid}: ${found.why}`);
    throw new SetupError(
      'not-found',
      `${nameOrUuid}: no disk of this machine carries its spare; "dm-remap scan" shows what they carry, --spare names one`,
    );
  }
}
