import { fileSystemKinds } from '../acceptance/file-system-kinds.ts';
import type { StoryCall, VanishingWay } from './story-plan.ts';

/** How much of everything: a part for `npm test`, or all of it. */
export interface KernelSize {
  /** Dead sectors of each main that a device is made over. */
  readonly creationPlaces: readonly (readonly number[])[];
  readonly touchedBad: number;
  readonly touchedMebibytes: number;
  readonly removalRounds: number;
  readonly flakeySeconds: number;
  readonly flakeyBad: number;
}

/** Stories about single faults of a disk. The limits are for a machine that is many times slower than it is alone. */
export function faultStories(size: KernelSize): StoryCall[] {
  return [
    {
      title:
        'I1 hang at creation: over dead sectors 0, 2 and 1000-1001 it is made in bounded time, and works on them',
      plan: { story: 'creation', places: size.creationPlaces },
      limitSeconds: 240,
    },
    {
      title:
        'I17 dm-error: the bad sectors that were touched are remapped or lost, exactly, also after SIGKILL',
      plan: { story: 'touched-sectors', badCount: size.touchedBad, mebibytes: size.touchedMebibytes },
      limitSeconds: 240 + 5 * size.touchedMebibytes,
    },
    {
      title:
        'I6 hang at removal: with remaps and I/O in flight it ends in bounded time, and the remaps are there',
      plan: { story: 'removal', rounds: size.removalRounds },
      limitSeconds: 180 * size.removalRounds,
    },
    {
      title: 'R23 dm-dust: what cannot be read is lost until it is written, then on main again',
      plan: { story: 'dust' },
      limitSeconds: 120,
    },
  ];
}

export function flakeyStories(size: KernelSize): StoryCall[] {
  return [
    {
      title: 'R17 dm-flakey, 5 s up and 1 s down: fio has 0 errors, every block verified, 0 remaps',
      plan: { story: 'flakey-traffic', seconds: size.flakeySeconds },
      limitSeconds: 240 + size.flakeySeconds,
    },
    {
      title:
        '116 s per remap through flakey: each bad sector is moved within 15 s while both disks come and go',
      plan: { story: 'flakey-remaps', badCount: size.flakeyBad },
      limitSeconds: 180 + 16 * size.flakeyBad,
    },
  ];
}

export function vanishingStory(ways: readonly VanishingWay[]): StoryCall {
  return {
    title:
      'R14 R17 R32 a disk that is pulled out, or has no size, costs waiting: 0 errors, 0 remaps; or EIO in bounded time',
    plan: { story: 'vanishing', ways },
    limitSeconds: 120 + 60 * ways.length,
  };
}

/** At full size alone: they take long. */
export function slowStories(size: { readonly soakSeconds: number }): StoryCall[] {
  return [
    {
      title: 'R36 dm-delay: between slow disks a bad sector costs some answers of them',
      plan: { story: 'delay' },
      limitSeconds: 120,
    },
    {
      title:
        'I10 I11 28 GB leak, log flood: requests that fail all the time leave memory and logs as they are',
      plan: { story: 'soak', seconds: size.soakSeconds },
      limitSeconds: 240 + size.soakSeconds,
    },
  ];
}

export interface DegradationSize {
  readonly stages: number;
  readonly wornPerStage: number;
  readonly newMebibytesPerStage: number;
}

const titles = {
  A: 'where no file needs it, or for writes alone: every file is equal, and it is clean',
  B: 'anywhere: every file is equal, or covers a sector that is listed as lost',
} as const;

export function degradationStory(
  kind: 'ext4' | 'xfs' | 'btrfs',
  run: 'A' | 'B',
  size: DegradationSize,
): StoryCall {
  return {
    title: `run ${run}: ${kind} on /dev/nbdN over sectors that wear out ${titles[run]}`,
    plan: { story: 'degradation', kind, run, ...size },
    limitSeconds: 240 + 240 * size.stages,
  };
}

export function freshStories(): StoryCall[] {
  return fileSystemKinds.map(({ name }) => ({
    title: `R13 ${name} made with --fresh on dead sectors 0, 2 and 1000-1001 is there after a restart`,
    plan: { story: 'fresh-file-system', kind: name },
    limitSeconds: 240,
  }));
}
