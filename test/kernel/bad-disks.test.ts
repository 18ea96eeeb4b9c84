import { kernelTests } from './kernel-tests.ts';
import { faultStories, flakeyStories, vanishingStory } from './story-calls.ts';

const size = {
  creationPlaces: [[0, 2, 1000, 1001]],
  touchedBad: 100,
  touchedMebibytes: 16,
  removalRounds: 1,
  flakeySeconds: 14,
  flakeyBad: 3,
} as const;

kernelTests('bad disks', [
  ...faultStories(size),
  vanishingStory(['scsi main pulled']),
  ...flakeyStories(size),
]);
