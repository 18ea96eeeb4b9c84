import { test } from 'node:test';
import { degradation, degradationTools } from '../acceptance/degradation.ts';
import { fileSystemKinds } from '../acceptance/file-system-kinds.ts';
import { missingForWornLab } from '../acceptance/worn-lab.ts';

const mebibyte = 1024 * 1024;

const titles = {
  A: 'where no file needs it, or for writes alone: every file is equal, and it is clean',
  B: 'anywhere: every file is equal, or covers a sector that is listed as lost',
} as const;

/** All of them, in ten stages each, are `npm run accept`; here each file system has its turn. */
const chosen = { ext4: ['A', 'B'], xfs: ['A'], btrfs: ['B'] } as const;

for (const kind of fileSystemKinds) {
  for (const run of chosen[kind.name]) {
    const skip = missingForWornLab(...degradationTools(kind));
    test(`I17 ${kind.name} on a disk whose sectors wear out ${titles[run]}`, { skip }, async (context) => {
      const seed = `degradation ${kind.name} ${run}`;
      const newBytesPerStage = 8 * mebibyte;
      context.diagnostic(
        await degradation({ kind, run, stages: 2, wornPerStage: 150, newBytesPerStage, seed }),
      );
    });
  }
}
