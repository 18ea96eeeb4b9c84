import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { SeededRandom } from '../../src/simulator/seeded-random.ts';
import { seenIn } from './kernel-tests.ts';
import { type BootResult, MachineLab, missingForGuest } from './machine.ts';
import type { Acknowledged, GuestReport, StoryCall } from './story-plan.ts';

const mebibyte = 1024 * 1024;
const mainBytes = 64 * mebibyte;
const spareBytes = 48 * mebibyte;
const limitSeconds = 240;

export interface PowerCutOptions {
  /** That end by the power button. */
  readonly boots: number;
  readonly acknowledgementsPerBoot: number;
}

/** The power goes while remaps are made, boot after boot; then it is turned off in good order, with the device in use. */
export function powerCutTests({ boots, acknowledgementsPerBoot }: PowerCutOptions): void {
  const title = `remaps lost at reboot: after ${boots} power cuts and a power-off in use, each acknowledged write is there`;
  describe('a machine whose power goes', { skip: missingForGuest() }, () => {
    it(title, async (context) => {
      const lab = new MachineLab();
      try {
        const disks = [lab.image('main.img', mainBytes), lab.image('spare.img', spareBytes)];
        const machine = new CutMachine(lab, disks);
        const random = new SeededRandom(`power cuts ${boots}`);
        for (let round = 1; round <= boots; round += 1) {
          await machine.writeUntilCut(round, acknowledgementsPerBoot + random.below(acknowledgementsPerBoot));
        }
        // The first of them ends by turning the machine off with the device in use.
        for (const _ of ['after the power cut', 'after power-off'])
          context.diagnostic(await machine.check(boots));
        context.diagnostic(`${machine.acknowledgements} writes acknowledged before ${boots} power cuts`);
      } finally {
        lab.close();
      }
    });
  });
}

class CutMachine {
  readonly #lab: MachineLab;
  readonly #disks: readonly string[];
  readonly #acknowledged = new Map<number, number>();
  acknowledgements = 0;

  constructor(lab: MachineLab, disks: readonly string[]) {
    this.#lab = lab;
    this.#disks = disks;
  }

  async writeUntilCut(round: number, count: number): Promise<void> {
    const title = `writes until its power goes, boot ${round}`;
    const plan = { story: 'write-until-cut', round, acknowledged: this.#list() } as const;
    let seen = 0;
    const result = await this.#boot({ title, plan, limitSeconds }, (report) => {
      if (report.kind === 'acknowledged') seen += 1;
      return seen === count;
    });
    if (result.end !== 'cut') assert.fail(seenIn(result, title));
    assert.ok(seen >= count);
  }

  async check(round: number): Promise<string> {
    const title = 'finds what was acknowledged';
    const plan = { story: 'check-after-boot', round, acknowledged: this.#list() } as const;
    const result = await this.#boot({ title, plan, limitSeconds }, () => false);
    assert.equal(result.end, 'powered off');
    return seenIn(result, title);
  }

  async #boot(call: StoryCall, isCutAfter: (report: GuestReport) => boolean): Promise<BootResult> {
    const result = await this.#lab.boot({ stories: [call], disks: this.#disks, isCutAfter });
    for (const report of result.reports) {
      if (report.kind !== 'acknowledged') continue;
      this.#acknowledged.set(report.sector, report.version);
      this.acknowledgements += 1;
    }
    return result;
  }

  #list(): Acknowledged[] {
    return [...this.#acknowledged];
  }
}
