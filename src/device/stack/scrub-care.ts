import type { Clock } from '../../block/clock.ts';
import { DeviceError, deviceError } from '../../block/device-error.ts';
import { MetadataError, type OpenedMetadata } from '../../metadata/metadata-store.ts';
import { NbdCounter } from '../../nbd/counters.ts';
import type { NbdServer } from '../../nbd/server.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import { answerScrubWords } from '../../scrub/scrub-messages.ts';
import type { VerifyReplicas } from '../../scrub/scrub-pass.ts';
import type { StoreScrub } from '../../scrub/scrub-saver.ts';
import { Scrubber } from '../../scrub/scrubber.ts';
import type { EventSink } from '../event-kinds.ts';

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

export function storeIn(store: Pick<OpenedMetadata['store'], 'updateProperties'>): StoreScrub {
  return async (scrub) => {
    try {
      await store.updateProperties({ scrub });
      return 'stored';
    } catch (error) {
      if (!(error instanceof MetadataError)) throw error;
      return error.code === 'METADATA_PROPERTIES_TOO_LARGE' ? 'full' : 'failed';
    }
  };
}

/** A store that is closing says no more of its replicas than a spare that is away. */
export function verifierOf(
  store: Pick<OpenedMetadata['store'], 'verifyReplicas'>,
  deviceName: string,
): VerifyReplicas {
  return async () => {
    try {
      return await store.verifyReplicas();
    } catch (error) {
      if (error instanceof DeviceError || !(error instanceof MetadataError)) throw error;
      throw deviceError(deviceName, 'closed', 0, 0);
    }
  };
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
