import type { DiskRole } from './health-facts.ts';

/** What a rule may advise about the disk that it judges. */
export type DiskAdvice = 'replace-now' | 'replace-soon' | 'larger-spare' | 'restore-lost';

/** The most urgent first. */
const order = ['replace-now', 'larger-spare', 'check-cable', 'replace-soon', 'restore-lost'] as const;
export type AdviceKind = (typeof order)[number];

/** Something to do. */
export interface Advice {
  readonly kind: AdviceKind;
  readonly disk: DiskRole;
  /** A whole sentence. */
  readonly text: string;
}

const texts: Readonly<Record<DiskRole, Readonly<Record<AdviceKind, string>>>> = {
  main: {
    'replace-now':
      'replace main within days: it is failing. Copy what is on the device now, and stop writing to it where you can',
    'replace-soon': 'plan to replace main: its errors are past what a disk lives with for long',
    'check-cable':
      'check the cable, the connector and the power of main: its link fails, and its sectors do not',
    'larger-spare': 'replace the spare by a larger one before it is full, or replace main',
    'restore-lost':
      'sectors are lost: ask main again ("message NAME 0 retry all"), write them anew, or restore the files from a backup',
  },
  spare: {
    'replace-now': 'replace the spare within days ("spare replace"): what was moved there has no other copy',
    'replace-soon': 'plan to replace the spare ("spare replace"): what was moved there has no other copy',
    'check-cable':
      'check the cable, the connector and the power of the spare: its link fails, and its sectors do not',
    'larger-spare': 'replace the spare by a larger one before it is full',
    'restore-lost': 'sectors are lost with the spare: restore the files from a backup',
  },
};

/** Each advice once, the most urgent first. To replace a disk now is to replace it soon. */
export function adviceOf(
  wanted: readonly { readonly kind: AdviceKind; readonly disk: DiskRole }[],
): readonly Advice[] {
  const has = (kind: AdviceKind, disk: DiskRole): boolean =>
    wanted.some((one) => one.kind === kind && one.disk === disk);
  const disks: readonly DiskRole[] = ['main', 'spare'];
  return order.flatMap((kind) =>
    disks
      .filter((disk) => has(kind, disk) && !(kind === 'replace-soon' && has('replace-now', disk)))
      .map((disk) => ({ kind, disk, text: texts[disk][kind] })),
  );
}
