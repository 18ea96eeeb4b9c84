import { sectorBytes } from '../../block/block-device.ts';
import type { DeviceError } from '../../block/device-error.ts';
import { failureKindOfErrno } from '../../block/errno.ts';
import type { OperationKind } from '../operation-counter.ts';
import type { FaultStrike, SimulatedDisk } from '../simulated-disk.ts';
import type { PowerCutLoss } from '../simulated-media.ts';
import type { Stamp } from './contents.ts';
import type { OwedLoss } from './judged-client.ts';
import type { DiskName } from './world-plan.ts';
import type { WorldState } from './world-state.ts';

/** Tells the judge what the disks did to bytes: which may be lost, which may be old again, which moves have a reason. */
export class FaultEffects {
  readonly #world: WorldState;

  constructor(world: WorldState) {
    this.#world = world;
  }

  /** A fault that is not of the medium has met a request. */
  struck(strike: FaultStrike): void {
    const { main, spare, trouble, clock } = this.#world;
    const { fault, kind, offset, length, errno, lastsMs } = strike;
    const disk = strike.name === 'main' ? main : spare;
    const [sector, sectorCount] = [offset / sectorBytes, length / sectorBytes];
    if (disk === spare && fault !== 'lying-flush') this.spareTrouble();
    if (fault !== 'lying-flush') trouble.until(clock.nowMs() + lastsMs);
    if (disk === main && kind === 'write' && errno !== 0) trouble.markSpecial(sector, sectorCount);
    // A request that fails once more and then works, or that never comes back, may rightly count as a bad sector (R14, R17).
    if (disk === main && fault !== 'path' && errno !== 0 && kind !== 'flush') {
      trouble.mayMove(sector, sectorCount);
    }
    // An error that may be about the sector, or an answer that never came: the device may rightly give the sector up.
    const failure = errno === 0 ? undefined : failureKindOfErrno(errno);
    if (kind === 'read' && (failure === 'suspect' || failure === 'medium'))
      this.lostIfRead(disk, sector, sectorCount);
  }

  /** A request failed above main's targets: while one of them misbehaves, it may have done that. */
  targetFailed(kind: OperationKind, error: DeviceError): void {
    const { trouble, main, clock } = this.#world;
    if (!trouble.met(clock.nowMs())) return;
    for (const range of error.ranges) {
      if (range.kind !== 'suspect') continue;
      const [sector, sectorCount] = [range.offset / sectorBytes, range.length / sectorBytes];
      trouble.mayMove(sector, sectorCount);
      if (kind === 'read') this.lostIfRead(main, sector, sectorCount);
      else trouble.markSpecial(sector, sectorCount);
    }
  }

  spareTrouble(): void {
    const { session } = this.#world;
    if (session !== undefined) session.spareTrouble = true;
  }

  /** What the spare's flushes had lied about is lost. */
  spareLied(): void {
    this.#world.spareLied = true;
    this.#world.trouble.excuseSpecial(this.#world.judge);
  }

  /** A disk lost its power alone. What its flushes had lied about is lost with it. */
  lied(disk: SimulatedDisk, loss: PowerCutLoss): void {
    const { spare, judge } = this.#world;
    if (loss.lied.length === 0) return;
    if (disk === spare) this.spareLied();
    else judge.lied(loss.lied);
  }

  /**
   * A write in place to a sector of the spare that took it, silently, and cannot be read again. In a slot that was read back
   * when it was new nobody can know (R24: `first`); in a new slot reading back finds it.
   */
  blindWrite(sector: number, bytes: Uint8Array): void {
    const { judge, spare } = this.#world;
    const after = judge.contents.stampOf(bytes);
    const before = judge.contents.stampOf(spare.cachedImage(sector * sectorBytes, sectorBytes));
    if (after === undefined || before?.sector !== after.sector) return;
    if (judge.mayBe(before.sector, before.version)) this.#blockWentBad(after.sector);
  }

  /** A disk threw writes away: because its flush failed, or because it was pulled out. */
  cacheDropped(disk: DiskName, loss: PowerCutLoss): void {
    const { judge, session, main, spare } = this.#world;
    this.lied(disk === 'main' ? main : spare, loss);
    judge.flushFailed();
    const acknowledged: OwedLoss[] = [];
    const durable = (disk === 'main' ? main : spare).durableImage;
    for (const { sector, bytes } of loss.lost) {
      // Written once more what was durable, as a probe does: nothing is lost.
      const at = sector * sectorBytes;
      if (bytes.every((byte, index) => byte === durable[at + index])) continue;
      const stamp = judge.contents.stampOf(bytes);
      // Zeros on the spare are of somebody who wrote zeros: of whom, nobody can say.
      const owner = disk === 'main' ? sector : stamp?.sector;
      if (owner === undefined) continue;
      if (stamp !== undefined && !judge.mayBe(stamp.sector, stamp.version)) continue;
      if (stamp !== undefined && this.#isElsewhere(disk, stamp)) continue;
      const version = stamp?.version;
      if (judge.cacheDropped(owner, version)) acknowledged.push({ sector: owner, version });
    }
    // What a failed write had left is gone with the rest, and nobody was promised it.
    if (disk === 'main') {
      for (const { sector, bytes } of loss.left)
        judge.cacheDropped(sector, judge.contents.stampOf(bytes)?.version);
    }
    for (const client of session?.clients ?? []) client.owe(acknowledged);
  }

  /** These sectors of a disk fail reads from now on: whose bytes they hold may be lost, and nobody else's. */
  lostIfRead(disk: SimulatedDisk, firstSector: number, sectorCount: number): void {
    const { judge, main } = this.#world;
    for (let at = firstSector; at < firstSector + sectorCount; at += 1) {
      const bytes = disk.cachedImage(at * sectorBytes, sectorBytes);
      const stamp = judge.contents.stampOf(bytes);
      if (stamp !== undefined && judge.mayBe(stamp.sector, stamp.version)) {
        this.#blockWentBad(stamp.sector);
      } else if (stamp === undefined && disk === main) this.#blockWentBad(at);
    }
  }

  /** Clients read whole logical blocks of main: where a part of one is lost, all of it is. */
  #blockWentBad(sector: number): void {
    const { judge, plan } = this.#world;
    const perBlock = plan.geometry.logicalBlockBytes / sectorBytes;
    const first = sector - (sector % perBlock);
    for (let at = first; at < first + perBlock; at += 1) judge.wentBad(at);
  }

  /** The other disk has it, durably: what was lost was left from before a move. */
  #isElsewhere(disk: DiskName, lost: Stamp): boolean {
    const { main, spare, judge } = this.#world;
    const image = (disk === 'main' ? spare : main).durableImage;
    for (let at = 0; at < image.length; at += sectorBytes) {
      const stamp = judge.contents.stampOf(image, at);
      if (stamp?.sector === lost.sector && stamp.version === lost.version) return true;
    }
    return false;
  }
}
