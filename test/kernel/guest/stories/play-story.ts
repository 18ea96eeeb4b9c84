import type { StoryPlan } from '../../story-plan.ts';
import { attachedThatFails, attachedThatWaits } from './attached.ts';
import { findAfterBoot, makeForBoot } from './boot-by-identity.ts';
import { creation } from './creation.ts';
import { degradationOnKernelDisks } from './degradation.ts';
import { delayedMain } from './delay.ts';
import { dustyMain } from './dust.ts';
import { flakeyRemaps, flakeyTraffic } from './flakey.ts';
import { freshFileSystem } from './fresh-file-system.ts';
import { loggedRemaps } from './logged-remaps.ts';
import { checkAfterBoot, writeUntilCut } from './power-cut.ts';
import { removal } from './removal.ts';
import { soak } from './soak.ts';
import { touchedSectors } from './touched-sectors.ts';
import { vanishing } from './vanishing.ts';

/** Gives a line of what was seen; rejects when a promise was broken. */
export function playStory(plan: StoryPlan, tell: (text: string) => void): Promise<string> {
  switch (plan.story) {
    case 'creation':
      return creation(plan.places);
    case 'fresh-file-system':
      return freshFileSystem(plan.kind);
    case 'touched-sectors':
      return touchedSectors(plan);
    case 'removal':
      return removal(plan.rounds);
    case 'dust':
      return dustyMain();
    case 'delay':
      return delayedMain();
    case 'attached-queue':
      return attachedThatWaits();
    case 'attached-fail':
      return attachedThatFails();
    case 'flakey-traffic':
      return flakeyTraffic(plan.seconds);
    case 'flakey-remaps':
      return flakeyRemaps(plan.badCount);
    case 'vanishing':
      return vanishing(plan.ways);
    case 'soak':
      return soak(plan.seconds);
    case 'degradation':
      return degradationOnKernelDisks(plan, tell);
    case 'write-until-cut':
      return writeUntilCut(plan);
    case 'check-after-boot':
      return checkAfterBoot(plan);
    case 'make-for-boot':
      return makeForBoot(plan);
    case 'find-after-boot':
      return findAfterBoot(plan);
    case 'logged-remaps':
      return loggedRemaps(plan);
  }
}
