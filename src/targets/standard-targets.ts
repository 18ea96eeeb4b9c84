import type { Clock, Random } from '../block/clock.ts';
import type { TargetType } from '../mapping/target.ts';
import { delayTargetType } from './delay-target.ts';
import { dustTargetType } from './dust-target.ts';
import { errorTargetType } from './error-target.ts';
import { flakeyTargetType } from './flakey-target.ts';
import { linearTargetType } from './linear-target.ts';
import { zeroTargetType } from './zero-target.ts';

/** What `delay` and `flakey` need of their surroundings, as every room that knows no time and no chance of its own. */
export interface StandardTargetParts {
  readonly clock: Clock;
  readonly random: Random;
}

/** The targets of this room, for a `TargetRegistry`; whoever has more puts them beside these. */
export function standardTargets(parts: StandardTargetParts): TargetType[] {
  return [
    linearTargetType,
    errorTargetType,
    zeroTargetType,
    delayTargetType(parts.clock),
    flakeyTargetType(parts.clock, parts.random),
    dustTargetType,
  ];
}
