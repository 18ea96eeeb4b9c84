/** What a guest is asked to do, story by story. */
export type StoryPlan =
  | { readonly story: 'creation'; readonly places: readonly (readonly number[])[] }
  | { readonly story: 'fresh-file-system'; readonly kind: 'ext4' | 'xfs' | 'btrfs' }
  | { readonly story: 'touched-sectors'; readonly badCount: number; readonly mebibytes: number }
  | { readonly story: 'removal'; readonly rounds: number }
  | { readonly story: 'dust' }
  | { readonly story: 'delay' }
  | { readonly story: 'attached-queue' }
  | { readonly story: 'attached-fail' }
  | { readonly story: 'flakey-traffic'; readonly seconds: number }
  | { readonly story: 'flakey-remaps'; readonly badCount: number }
  | { readonly story: 'vanishing'; readonly ways: readonly VanishingWay[] }
  | { readonly story: 'soak'; readonly seconds: number }
  | {
      readonly story: 'degradation';
      readonly kind: 'ext4' | 'xfs' | 'btrfs';
      readonly run: 'A' | 'B';
      readonly stages: number;
      readonly wornPerStage: number;
      readonly newMebibytesPerStage: number;
    }
  | {
      readonly story: 'write-until-cut';
      readonly round: number;
      readonly acknowledged: readonly Acknowledged[];
    }
  | {
      readonly story: 'check-after-boot';
      readonly acknowledged: readonly Acknowledged[];
      /** What the last boot was writing when its power went. */
      readonly round: number;
    }
  | {
      readonly story: 'make-for-boot';
      readonly main: string;
      readonly spare: string;
      readonly foreignMain: string;
      readonly foreignSpare: string;
    }
  | {
      readonly story: 'find-after-boot';
      readonly main: string;
      readonly spare: string;
      readonly copy: string;
      readonly foreignSpare: string;
    }
  | { readonly story: 'logged-remaps'; readonly badCount: number; readonly rounds: number };

/** Which disk goes, and how it is gone. */
export const vanishingWays = [
  'scsi main pulled',
  'scsi main offline',
  'scsi spare pulled',
  'mapped main shrunk',
  'mapped main wiped',
] as const;
export type VanishingWay = (typeof vanishingWays)[number];

/** A sector, and the version of it that was acknowledged last. */
export type Acknowledged = readonly [sector: number, version: number];

/** One story of a boot. */
export interface StoryCall {
  /** Unique in the boot. */
  readonly title: string;
  readonly plan: StoryPlan;
  readonly limitSeconds: number;
}

/** A line that the guest prints behind `reportMark`. */
export type GuestReport =
  | { readonly kind: 'begun'; readonly title: string }
  | { readonly kind: 'told'; readonly title: string; readonly text: string }
  | { readonly kind: 'acknowledged'; readonly sector: number; readonly version: number }
  | {
      readonly kind: 'ended';
      readonly title: string;
      readonly seconds: number;
      /** What was seen. */
      readonly seen: string;
      /** Empty when all was well. */
      readonly failure: string;
    };

/** The console has the kernel's own lines too. */
export const reportMark = '@@dm-remap ';
