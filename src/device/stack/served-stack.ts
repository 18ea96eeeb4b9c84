import type { ClosingStep } from '../lifecycle.ts';
import type { DeviceStatus, DeviceTable, ProcessStatus } from '../messages.ts';

/** The part of the status that the stack knows. */
export type StackStatus = Omit<
  DeviceStatus,
  'state' | 'pid' | 'version' | 'startedUnixSeconds' | 'eventLog' | 'controlRestarts' | 'process'
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
  suspend(options: { readonly flush: boolean }): Promise<void>;
  resume(): Promise<void>;
  message(sector: number, words: readonly string[]): Promise<string>;
}
