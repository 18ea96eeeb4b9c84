import type { SuspendOptions } from '../../remap/order/suspension.ts';
import type { ClosingStep } from '../closing-steps.ts';
import type { DeviceStatus, DeviceTable, DiskRequests, ProcessStatus, WaitingRequests } from '../messages.ts';

/** The part of the status that the stack knows. */
export type StackStatus = Omit<
  DeviceStatus,
  | 'state'
  | 'pid'
  | 'version'
  | 'startedUnixSeconds'
  | 'eventLog'
  | 'controlRestarts'
  | 'process'
  | 'attachment'
  | 'health'
>;

/** One device, open and exported, as its process sees it. */
export interface ServedStack {
  readonly name: string;
  readonly exports: readonly string[];
  readonly notes: readonly string[];
  readonly memory: Pick<ProcessStatus, 'memoryLocked' | 'requestMemoryBytes'>;
  readonly engine: Pick<DeviceStatus, 'engine' | 'engineReason'>;
  /** In the order in which they must run. */
  closingSteps(): readonly ClosingStep[];
  describe(): StackStatus;
  table(): DeviceTable;
  /** Clients that are connected and may send something. */
  clients(): number;
  /** Requests without an answer for at least `minAgeSeconds`, up to `listedMax` of them by name. */
  unanswered(minAgeSeconds: number, listedMax: number): WaitingRequests;
  /** What each disk has not answered, by disk. */
  unansweredByDisk(): readonly DiskRequests[];
  suspend(options: SuspendOptions): Promise<void>;
  resume(): Promise<void>;
  /** R7: a flush failed of which some client has still to hear. */
  readonly owesFlushFailure: boolean;
  /** Behind `suspend`: clients are left without an answer to what they wait for, for the process that serves next. */
  leaveClients(): void;
  /** A file of the kernel's that is the device, for a loop device: its path for another process. Throws `SetupError`. */
  openFile(readOnly: boolean): string;
  message(sector: number, words: readonly string[]): Promise<string>;
}
