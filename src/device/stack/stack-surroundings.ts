import type { Clock } from '../../block/clock.ts';
import type { EventSink } from '../event-kinds.ts';
import type { DeviceFolder } from '../process/runtime-directory.ts';

/** What a device gets from the process that serves it. */
export interface StackSurroundings {
  readonly clock: Clock;
  /** For what is done from time to time: its long delays end together, up to half a second early or late. */
  readonly ticks: Clock;
  /** Called once it is known which device it is, before anything is written: makes the name ours. */
  readonly claim: (name: string, uuid: string) => DeviceFolder;
  /** Where the host remembers its devices; undefined: nowhere. */
  readonly stateDirectory: string | undefined;
  /** Takes what an operator may want to know. */
  readonly events: EventSink;
  /** Called once a second while any request of a client has no answer (I22). */
  readonly onBusySecond: () => void;
  /** Whether it ends to be served again, as at a shutdown or a restart, and not because somebody removed it. */
  readonly endsForNow: () => boolean;
}
