import { kernelTests } from './kernel-tests.ts';
import { degradationStory, faultStories, flakeyStories } from './story-calls.ts';

const size = {
  creationPlaces: [[0, 2, 1000, 1001]],
  touchedBad: 100,
  touchedSeconds: 3,
  removalRounds: 1,
  flakeySeconds: 14,
  flakeyBad: 3,
} as const;
const degradation = degradationStory('ext4', 'B', { stages: 2, wornPerStage: 50, newMebibytesPerStage: 10 });

kernelTests('bad disks', faultStories(size));
kernelTests(
  'a disk that gets worse, and disks that come and go',
  [degradation, ...flakeyStories(size)],
  1536,
);
