import type { Clock } from '../../block/clock.ts';
import type { OpenedMetadata } from '../../metadata/metadata-store.ts';
import { NbdCounter } from '../../nbd/counters.ts';
import type { NbdServer } from '../../nbd/server.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import { answerScrubWords } from '../../scrub/scrub-messages.ts';
import { Scrubber } from '../../scrub/scrubber.ts';
import type { EventSink } from '../event-kinds.ts';
import { storeIn, verifierOf } from './scrub-store.ts';

export interface ScrubCareParts {
  readonly remap: RemapDevice;
  readonly metadata: OpenedMetadata;
  readonly server: NbdServer;
  readonly clock: Clock;
  readonly ticks: Clock;
  readonly events: EventSink;
}

/** Whoever scrubs a device that is served: it answers the device's message `scrub` from now on. */
export function scrubberOf({ remap, metadata, server, clock, ticks, events }: ScrubCareParts): Scrubber {
  const { facts, store } = metadata;
  const scrubber = new Scrubber({
    access: remap.scrubAccess(),
    stored: facts.properties.scrub,
    store: storeIn(store),
    verifyReplicas: verifierOf(store, remap.name),
    clock,
    ticks,
    clientRequests: () => clientRequests(server),
    tell: (event) => events.append(event),
  });
  remap.scrubbedBy((words) => answerScrubWords(scrubber, words));
  return scrubber;
}

/** Those that have been answered, of every kind that touches a disk. */
function clientRequests({ counters }: NbdServer): number {
  return touching.reduce((sum, at) => sum + (counters[at] ?? 0), 0);
}

const touching: readonly number[] = [
  NbdCounter.reads,
  NbdCounter.writes,
  NbdCounter.flushes,
  NbdCounter.trims,
  NbdCounter.zeroes,
  NbdCounter.errors,
];
