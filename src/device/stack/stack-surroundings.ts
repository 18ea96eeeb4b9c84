import type { Clock } from '../../block/clock.ts';
import type { DeviceFolder } from '../process/runtime-directory.ts';

/** What a device gets from the process that serves it. */
export interface StackSurroundings {
  readonly clock: Clock;
  /** For what is done from time to time: its long delays end together, up to half a second early or late. */
  readonly ticks: Clock;
  /** Called once the device's name is known, before anything is written: makes the name ours. */
  readonly claim: (name: string) => DeviceFolder;
  /** Where the host remembers its devices; undefined: nowhere. */
  readonly stateDirectory: string | undefined;
  /** One line about something that an operator may want to know. */
  readonly log: (event: string) => void;
}
