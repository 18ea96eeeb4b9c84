import assert from 'node:assert/strict';
import { copyFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { seenIn } from './kernel-tests.ts';
import { MachineLab, missingForGuest } from './machine.ts';
import type { StoryPlan } from './story-plan.ts';

const mebibyte = 1024 * 1024;
const limitSeconds = 300;

/** An image of this machine with the serial number that the guest's disk has (arch/um/drivers/ubd_kern.c: FILE,BACKING,SERIAL). */
function disk(image: string, serial: string): string {
  return `${image},,${serial}`;
}

/** A machine is started again, and the kernel gives every disk another name. */
export function bootByIdentityTests(): void {
  describe('a machine whose disks change their names', { skip: missingForGuest() }, () => {
    it('M12 M15 after a boot disks are found by what they are: renumbered, copied, foreign, rolled back, written raw', async (context) => {
      const lab = new MachineLab();
      const play = async (title: string, plan: StoryPlan, disks: readonly string[]): Promise<void> => {
        const result = await lab.boot({ stories: [{ title, plan, limitSeconds }], disks });
        context.diagnostic(seenIn(result, title));
        assert.equal(result.end, 'powered off');
      };
      try {
        const main = disk(lab.image('main.img', 64 * mebibyte), 'MAIN-1');
        const spareImage = lab.image('spare.img', 48 * mebibyte);
        const spare = disk(spareImage, 'SPARE-1');
        const foreignMain = disk(lab.image('other-main.img', 64 * mebibyte), 'MAIN-2');
        const foreignSpare = disk(lab.image('other-spare.img', 48 * mebibyte), 'SPARE-2');
        await play(
          'makes two devices',
          {
            story: 'make-for-boot',
            main: '/dev/ubda',
            spare: '/dev/ubdb',
            foreignMain: '/dev/ubdc',
            foreignSpare: '/dev/ubdd',
          },
          [main, spare, foreignMain, foreignSpare],
        );
        const copyImage = lab.image('copy.img', 0);
        copyFileSync(spareImage, copyImage);
        await play(
          'finds its disks again',
          {
            story: 'find-after-boot',
            copy: '/dev/ubda',
            foreignSpare: '/dev/ubdb',
            spare: '/dev/ubdc',
            main: '/dev/ubdd',
          },
          [disk(copyImage, 'COPY-1'), foreignSpare, spare, main],
        );
      } finally {
        lab.close();
      }
    });
  });
}
