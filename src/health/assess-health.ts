import { type Advice, type AdviceKind, adviceOf } from './advice.ts';
import { deviceRules } from './device-rules.ts';
import { diskRules } from './disk-rules.ts';
import type { DeviceFacts, DiskFacts, DiskRole, HealthFacts } from './health-facts.ts';
import { type Rule, stepAt, stepsReached } from './health-rule.ts';
import { scoreMax } from './health-score.ts';

/** Why the score is lower. */
export interface HealthReason {
  /** `id` of the rule. */
  readonly rule: string;
  readonly disk: DiskRole;
  readonly lowersBy: number;
  /** The score is no higher for it; null for no such bound. */
  readonly holdsAt: number | null;
  /** One clause. */
  readonly text: string;
}

export interface Assessment {
  readonly score: number;
  /** What weighs most first. */
  readonly reasons: readonly HealthReason[];
  /** What is most urgent first. */
  readonly advice: readonly Advice[];
}

interface Hit {
  readonly reason: HealthReason;
  readonly advice: readonly AdviceKind[];
  readonly evidence: 'link' | 'medium' | undefined;
}

/**
 * The score: 100, less the points of every rule, and no higher than any rule allows. Each rule can only take away, more for more
 * faults.
 */
export function assessHealth(facts: HealthFacts): Assessment {
  const hits = [
    ...deviceRules.flatMap((rule) => hitOf<DeviceFacts>(rule, facts.device, rule.disk, '')),
    ...facts.disks.flatMap((disk) =>
      diskRules.flatMap((rule) => hitOf<DiskFacts>(rule, disk, disk.role, `${disk.role}, ${disk.device}: `)),
    ),
  ];
  const reasons = hits.map(({ reason }) => reason).sort(byWeight);
  return {
    score: scoreOf(reasons),
    reasons,
    advice: adviceOf([...hits.flatMap(wantedOf), ...cablesOf(hits)]),
  };
}

/** What is left of 100 for these reasons alone. */
export function scoreOf(reasons: readonly HealthReason[]): number {
  const lowered = scoreMax - reasons.reduce((sum, { lowersBy }) => sum + lowersBy, 0);
  return Math.max(0, Math.min(lowered, ...reasons.map(({ holdsAt }) => holdsAt ?? scoreMax)));
}

/** Whether a reason is about what a disk says of itself, and not about what dm-remap has seen of it. */
export function isBySmart({ rule }: HealthReason): boolean {
  return diskRules.some(({ id }) => id === rule);
}

function hitOf<Facts>(rule: Rule<Facts>, facts: Facts, disk: DiskRole, whose: string): Hit[] {
  const measure = rule.measure(facts);
  const lowersBy = stepAt(rule.lowers, measure) ?? 0;
  const holdsAt = stepAt(rule.holds, measure) ?? null;
  if (lowersBy === 0 && holdsAt === null) return [];
  const text = `${whose}${rule.says(measure, facts)}`;
  return [
    {
      reason: { rule: rule.id, disk, lowersBy, holdsAt, text },
      advice: stepsReached(rule.advises, measure),
      evidence: rule.evidence,
    },
  ];
}

/** A lower bound weighs more than any points. */
function byWeight(a: HealthReason, b: HealthReason): number {
  return (a.holdsAt ?? scoreMax) - (b.holdsAt ?? scoreMax) || b.lowersBy - a.lowersBy;
}

function wantedOf({ advice, reason }: Hit): { kind: AdviceKind; disk: DiskRole }[] {
  return advice.map((kind) => ({ kind, disk: reason.disk }));
}

/** A link that fails while the sectors do not: the disk is the last thing to replace. */
function cablesOf(hits: readonly Hit[]): { kind: AdviceKind; disk: DiskRole }[] {
  const has = (disk: DiskRole, wanted: 'link' | 'medium'): boolean =>
    hits.some(({ reason, evidence }) => reason.disk === disk && evidence === wanted);
  const disks: readonly DiskRole[] = ['main', 'spare'];
  return disks
    .filter((disk) => has(disk, 'link') && !has(disk, 'medium'))
    .map((disk) => ({ kind: 'check-cable', disk }));
}
