import type { TargetType } from '../mapping/target.ts';
import { dustTargetType } from './dust-target.ts';
import { errorTargetType } from './error-target.ts';
import { linearTargetType } from './linear-target.ts';

/** The targets of this room, for a `TargetRegistry`; whoever has more puts them beside these. */
export function standardTargets(): TargetType[] {
  return [linearTargetType, errorTargetType, dustTargetType];
}
