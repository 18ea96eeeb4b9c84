import type { Random } from '../block/clock.ts';
import { type HostIdentity, InUse, judgeSpare, type MarkedSpare } from './in-use.ts';
import type { SpareIo } from './spare-io.ts';
import type { SuperblockScan } from './superblock-scan.ts';
import { hexText, uuidText } from './uuid.ts';

/** Who wants to change a spare. */
export interface SpareTaker {
  /** Undefined where processes cannot be told apart: nobody is asked then. */
  readonly host: HostIdentity | undefined;
  /** Take the spare whoever marks it as in use. */
  readonly takeover: boolean;
}

/** A spare that may be changed. */
export interface SpareClaim {
  /** From whom it was taken, one clause each. */
  readonly takenOver: readonly string[];
  /** The change is done. */
  release(): Promise<void>;
}

/**
 * M11 for whoever writes to a spare without opening it: refuses with `METADATA_IN_USE` when somebody uses one of `devices`
 * on it. Where one was in use it is marked, so that whoever had it stops at its next beat. Rejects with the device's error, too.
 */
export async function claimSpare(
  io: SpareIo,
  random: Random,
  devices: readonly MarkedSpare[],
  { host, takeover }: SpareTaker,
): Promise<SpareClaim> {
  const takenOver: string[] = [];
  if (host === undefined) return { takenOver, release: () => Promise.resolve() };
  const nonce = new Uint8Array(8);
  random.fill(nonce);
  let claim: InUse | undefined;
  for (const device of devices) {
    const judgement = await judgeSpare(io, device, host, takeover);
    if (judgement.takenOver === undefined) continue;
    takenOver.push(judgement.takenOver);
    // There is one place for all marks: one of any device stops whoever had the spare.
    claim ??= new InUse(io, device, judgement, hexText(nonce));
  }
  await claim?.claim();
  return {
    takenOver,
    release: async () => {
      await claim?.release();
      await io.flusher.flush();
    },
  };
}

/** The devices whose whole superblocks are on a spare: more than one when something wrote over a part of it. */
export function devicesOf(scan: SuperblockScan): readonly MarkedSpare[] {
  const byUuid = new Map(scan.found.map(({ superblock: { shared } }) => [uuidText(shared.uuid), shared]));
  return [...byUuid.values()];
}
