import { fileSystemKinds } from '../acceptance/file-system-kinds.ts';
import { bootByIdentityTests } from './boot-by-identity-tests.ts';
import { kernelTests } from './kernel-tests.ts';
import { powerCutTests } from './power-cut-tests.ts';
import {
  degradationStory,
  faultStories,
  flakeyStories,
  freshStories,
  slowStories,
  vanishingStory,
} from './story-calls.ts';
import { vanishingWays } from './story-plan.ts';
import { writeLogTests } from './write-log-tests.ts';

/** What `npm run test:kernel` does: everything that `npm test` does in small, and the rest. */
const size = {
  creationPlaces: [
    [0, 2],
    [1000, 1001],
    [0, 2, 1000, 1001],
  ],
  touchedBad: 500,
  touchedMebibytes: 128,
  removalRounds: 5,
  flakeySeconds: 600,
  flakeyBad: 50,
  soakSeconds: 300,
} as const;
const degradationSize = { stages: 10, wornPerStage: 50, newMebibytesPerStage: 12 } as const;
const fileSystemMebibytes = 2048;

kernelTests('bad disks', [...faultStories(size), ...slowStories(size)]);
kernelTests('disks that vanish', [vanishingStory(vanishingWays)]);
bootByIdentityTests();
powerCutTests({ boots: 5, acknowledgementsPerBoot: 300 });
writeLogTests({ badCount: 100, rounds: 3 });
kernelTests('dead sectors below a new file system', freshStories(), fileSystemMebibytes);
for (const { name } of fileSystemKinds) {
  for (const run of ['A', 'B'] as const) {
    const story = degradationStory(name, run, degradationSize);
    kernelTests(`${name}, run ${run}`, [story], fileSystemMebibytes);
  }
}
kernelTests('disks that come and go', flakeyStories(size));
