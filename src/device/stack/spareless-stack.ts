import type { TableCopyHeader } from '../../metadata/table-copy-header.ts';
import { NbdCounter } from '../../nbd/counters.ts';
import type { NbdServer } from '../../nbd/server.ts';
import type { SparelessDevice } from '../../remap/spareless-device.ts';
import type { ClosingStep } from '../closing-steps.ts';
import type { RecordedState } from '../host/recorded-state.ts';
import type { DeviceTable, DiskRequests, RemapSummary, WaitingRequests } from '../messages.ts';
import { stuckAfterSeconds, stuckListedMax } from '../stuck-limits.ts';
import { WrongStateError } from '../wrong-state-error.ts';
import { diskStatus } from './disk-status.ts';
import { disksOf, type OpenedMain } from './disks.ts';
import type { KernelFile } from './kernel-file.ts';
import { formatRemapTable } from './remap-table.ts';
import { requestsByDisk } from './requests-by-disk.ts';
import type { ServedStack, StackStatus } from './served-stack.ts';
import { trafficStatus } from './traffic-status.ts';
import { waitingRequests } from './waiting-requests.ts';

export interface SparelessStackParts {
  readonly name: string;
  readonly exports: readonly string[];
  readonly memory: ServedStack['memory'];
  readonly engine: ServedStack['engine'];
  readonly main: OpenedMain;
  readonly device: SparelessDevice;
  readonly header: TableCopyHeader;
  readonly state: RecordedState;
  readonly server: NbdServer;
  readonly kernelFile: KernelFile;
  readonly stateDirectory: string;
}

/** Stands where the spare's path would. */
const noSpare = '-';

/** M13: main alone, read-only, over a copy of the table. */
export class SparelessStack implements ServedStack {
  readonly notes: readonly string[];
  readonly #parts: SparelessStackParts;
  readonly #closingSteps: readonly ClosingStep[];

  /** Use `openSpareless`. */
  constructor(parts: SparelessStackParts, notes: readonly string[], closingSteps: readonly ClosingStep[]) {
    this.#parts = parts;
    this.notes = notes;
    this.#closingSteps = closingSteps;
  }

  get name(): string {
    return this.#parts.name;
  }

  get memory(): ServedStack['memory'] {
    return this.#parts.memory;
  }

  get engine(): ServedStack['engine'] {
    return this.#parts.engine;
  }

  get exports(): readonly string[] {
    return this.#parts.exports;
  }

  closingSteps(): readonly ClosingStep[] {
    return this.#closingSteps;
  }

  describe(): StackStatus {
    const { name, exports, main, device, header, server, stateDirectory } = this.#parts;
    return {
      name,
      uuid: header.uuid,
      sizeBytes: device.geometry.sizeBytes,
      logicalBlockBytes: device.geometry.logicalBlockBytes,
      physicalBlockBytes: device.geometry.physicalBlockBytes,
      main: diskStatus(main),
      spare: null,
      remap: this.#summary(),
      scrub: null,
      exports,
      connections: server.counters[NbdCounter.connectionsOpen] ?? 0,
      requestsInFlight: this.unanswered(0, 0).count,
      traffic: trafficStatus(server),
      stuckRequests: this.unanswered(stuckAfterSeconds, stuckListedMax),
      ...this.engine,
      cache: 'none',
      hostState: { directory: stateDirectory, tableUnixSeconds: header.writtenUnixSeconds, trouble: '' },
      notes: this.notes,
    };
  }

  clients(): number {
    return this.#parts.server.clients;
  }

  /** Nothing but main can keep a request. */
  unanswered(minAgeSeconds: number, listedMax: number): WaitingRequests {
    return waitingRequests(this.#parts.server.unanswered(minAgeSeconds, listedMax), () => 'at-main');
  }

  unansweredByDisk(): readonly DiskRequests[] {
    return requestsByDisk(disksOf(this.#parts.main));
  }

  table(): DeviceTable {
    const { main, device } = this.#parts;
    const lengthBytes = device.geometry.sizeBytes;
    return {
      lines: [formatRemapTable({ mainPath: main.path, sparePath: noSpare, lengthBytes })],
      mainLines: main.access === 'table' ? main.device.status('table') : [],
    };
  }

  suspend(): Promise<void> {
    this.#parts.server.suspend();
    return Promise.resolve();
  }

  resume(): Promise<void> {
    this.#parts.server.resume();
    return Promise.resolve();
  }

  get owesFlushFailure(): boolean {
    return this.#parts.server.owesFlushFailure;
  }

  leaveClients(): void {
    this.#parts.server.leaveClients();
  }

  /** Main alone is read, whatever was asked for. */
  openFile(): string {
    return this.#parts.kernelFile.open(true);
  }

  message(): Promise<string> {
    return Promise.reject(
      new WrongStateError('without its spare a device takes no messages: it can only be read'),
    );
  }

  #summary(): RemapSummary {
    const { header, state } = this.#parts;
    const totals = state.table.totals();
    // Whatever main alone cannot give (R13's zeros too: who wrote what is on the spare).
    const lost = totals.heldSectors + totals.unreadableSectors + totals.freshZeroSectors + totals.goneSectors;
    return {
      state: 'without-spare',
      health: 'failing',
      healthReasons: ['without-spare'],
      remappedGranules: totals.remappedGranules,
      remappedSectors: totals.heldSectors,
      unreadableSectors: totals.unreadableSectors,
      freshZeroSectors: totals.freshZeroSectors,
      goneSectors: totals.goneSectors,
      slotsTotal: 0,
      slotsUsed: 0,
      slotsFree: 0,
      slotsRetired: state.retiredSlots().length,
      slotsReserved: 0,
      spareState: 'none',
      spareUsedPercent: 0,
      granuleBytes: header.granuleBytes,
      verify: 'off',
      mainCache: 'none',
      changedPolicies: {},
      replicasValid: 0,
      replicasTotal: 0,
      statusWords: `without-spare ${totals.remappedGranules}/0 lost ${lost} replicas 0/0`,
      counters: {},
    };
  }
}
