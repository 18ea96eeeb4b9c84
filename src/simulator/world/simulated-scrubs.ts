import { storeIn, verifierOf } from '../../device/stack/scrub-store.ts';
import type { ScrubEvent } from '../../scrub/scrub-event.ts';
import { answerScrubWords } from '../../scrub/scrub-messages.ts';
import { Scrubber } from '../../scrub/scrubber.ts';
import { JudgeViolation } from './judge.ts';
import type { OpenedStack, StackParts } from './simulated-stack.ts';
import { countOne } from './world-outcome.ts';
import type { WorldState } from './world-state.ts';

/** The shipped scrubber of a device of a world; it goes on where the spare says the last session was. */
export function scrubberIn(
  world: WorldState,
  { clock }: StackParts,
  { device, metadata, scrubs }: OpenedStack,
): Scrubber {
  let looks = 0;
  const scrubber = new Scrubber({
    access: device.scrubAccess(),
    stored: scrubs,
    store: storeIn(metadata),
    verifyReplicas: verifierOf(metadata, 'world'),
    clock,
    ticks: clock,
    // Every second look finds that somebody has asked for something.
    clientRequests: () => {
      looks += 1;
      return Math.floor(looks / 2);
    },
    tell: (event) => noteEvent(world, event),
  });
  device.scrubbedBy((words) => answerScrubWords(scrubber, words));
  return scrubber;
}

/** A pass that has ended has read everything there is, and no more of main than there is. */
function noteEvent(world: WorldState, event: ScrubEvent): void {
  countOne(world.outcome.states, event.kind);
  if (event.kind !== 'scrub-finished') return;
  const mainBytes = world.plan.geometry.mainSectors * 512;
  if (event.positionBytes !== mainBytes)
    throw new JudgeViolation(`a scrub ends at byte ${event.positionBytes} of ${mainBytes}`);
  if (event.lostSectors > 0) countOne(world.outcome.states, 'scrub found what is lost');
  if (event.movedGranules > 0) countOne(world.outcome.states, 'scrub saved what was bad');
  if (event.repairedReplicas > 0) countOne(world.outcome.states, 'scrub repaired a replica');
}
