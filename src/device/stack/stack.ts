import { sectorBytes } from '../../block/block-device.ts';
import { parseSectorNumber } from '../../mapping/table-syntax.ts';
import { TargetError } from '../../mapping/target-error.ts';
import type { OpenedMetadata } from '../../metadata/metadata-store.ts';
import { NbdCounter } from '../../nbd/counters.ts';
import type { NbdServer } from '../../nbd/server.ts';
import { MessageError } from '../../remap/message/message-error.ts';
import type { SuspendOptions } from '../../remap/order/suspension.ts';
import type { DevicePlace } from '../../remap/path/device-paths.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import type { Scrubber } from '../../scrub/scrubber.ts';
import type { ClosingStep } from '../closing-steps.ts';
import type { HostStateWriter } from '../host/host-state-writer.ts';
import type { DeviceTable, DiskRequests, WaitingRequests } from '../messages.ts';
import type { CacheMode } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { stuckAfterSeconds, stuckListedMax } from '../stuck-limits.ts';
import { diskStatus } from './disk-status.ts';
import { disksOf, type OpenedDisk, type OpenedMain } from './disks.ts';
import type { KernelFile } from './kernel-file.ts';
import { remapSummary } from './remap-summary.ts';
import { formatRemapTable } from './remap-table.ts';
import { requestsByDisk } from './requests-by-disk.ts';
import type { ServedStack, StackStatus } from './served-stack.ts';
import type { SpareExchange } from './spare-exchange.ts';
import type { SpareRoster } from './spare-roster.ts';
import { trafficStatus } from './traffic-status.ts';
import { waitingRequests } from './waiting-requests.ts';

/** Words behind the path, by verb of the message `spare`. */
const spareWords: Readonly<Record<'replace' | 'add' | 'remove', readonly string[]>> = {
  replace: ['give-up', 'overwrite'],
  add: ['overwrite', 'check'],
  remove: ['give-up'],
};

/** Everything that one device is made of, open. */
export interface StackParts {
  readonly name: string;
  readonly exports: readonly string[];
  readonly memory: ServedStack['memory'];
  readonly engine: ServedStack['engine'];
  readonly cache: CacheMode;
  readonly main: OpenedMain;
  readonly exchange: SpareExchange;
  readonly roster: SpareRoster;
  readonly metadata: OpenedMetadata;
  readonly remap: RemapDevice;
  readonly scrubber: Scrubber;
  readonly server: NbdServer;
  readonly kernelFile: KernelFile;
  /** Undefined where the host has no place to remember anything. */
  readonly hostWriter: HostStateWriter | undefined;
}

/** One device, open and exported. */
export class Stack implements ServedStack {
  readonly notes: readonly string[];
  readonly #parts: StackParts;
  readonly #closingSteps: readonly ClosingStep[];

  /** Use `openStack`. */
  constructor(parts: StackParts, notes: readonly string[], closingSteps: readonly ClosingStep[]) {
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

  /** In the order in which they must run. */
  closingSteps(): readonly ClosingStep[] {
    return this.#closingSteps;
  }

  describe(): StackStatus {
    const { name, exports, cache, main, exchange, metadata, remap, scrubber, server, hostWriter } =
      this.#parts;
    const status = remap.status();
    return {
      name,
      uuid: metadata.facts.uuid,
      sizeBytes: remap.geometry.sizeBytes,
      logicalBlockBytes: remap.geometry.logicalBlockBytes,
      physicalBlockBytes: remap.geometry.physicalBlockBytes,
      main: diskStatus(main),
      spare: diskStatus(exchange.spare),
      remap: remapSummary(status),
      scrub: scrubber.report(),
      exports,
      connections: server.counters[NbdCounter.connectionsOpen] ?? 0,
      requestsInFlight: status.requestsInFlight,
      traffic: trafficStatus(server),
      stuckRequests: this.unanswered(stuckAfterSeconds, stuckListedMax),
      ...this.engine,
      cache,
      hostState: hostWriter?.report() ?? {
        directory: '',
        tableUnixSeconds: 0,
        trouble: 'no folder for it: set DM_REMAP_STATE_DIR',
      },
      notes: this.notes,
    };
  }

  clients(): number {
    return this.#parts.server.clients;
  }

  unanswered(minAgeSeconds: number, listedMax: number): WaitingRequests {
    const { server, remap } = this.#parts;
    return waitingRequests(server.unanswered(minAgeSeconds, listedMax), (kind, offset, length) =>
      remap.phaseOf(kind, offset, length),
    );
  }

  unansweredByDisk(): readonly DiskRequests[] {
    const { main, exchange, roster } = this.#parts;
    return requestsByDisk([...disksOf(main), exchange.spare, ...roster.disks.values()]);
  }

  table(): DeviceTable {
    const { main, exchange, remap } = this.#parts;
    const lengthBytes = remap.geometry.sizeBytes;
    return {
      lines: [formatRemapTable({ mainPath: main.path, sparePath: exchange.spare.path, lengthBytes })],
      mainLines: main.access === 'table' ? main.device.status('table') : [],
    };
  }

  /**
   * R30: clients wait from here on, what they have sent is answered, and with `flush` durable. Rejects with `SuspendError`,
   * and serves on.
   */
  async suspend(options: SuspendOptions): Promise<void> {
    const { server, remap, exchange } = this.#parts;
    await exchange.notHolding();
    const wasSuspended = remap.suspended;
    server.suspend();
    try {
      await remap.suspend(options);
    } catch (error) {
      if (!wasSuspended) server.resume();
      throw error;
    }
  }

  /**
   * The end of it, when both disks are still the ones that were opened: one that was pulled out and is back is opened again
   * (R32). Rejects with `SetupError`, and stays suspended.
   */
  async resume(): Promise<void> {
    const { main, exchange, server, remap } = this.#parts;
    await exchange.notHolding();
    const disks: [DevicePlace, OpenedDisk][] = [['spare', exchange.spare], ...this.#parts.roster.disks];
    for (const disk of disksOf(main)) disks.push(['main', disk]);
    for (const [place, disk] of disks) {
      if ((await disk.device.identityTrouble()) !== undefined) await remap.openAnew(place);
      await refuseAnotherDisk(disk);
    }
    await remap.resume();
    server.resume();
  }

  get owesFlushFailure(): boolean {
    return this.#parts.server.owesFlushFailure;
  }

  leaveClients(): void {
    this.#parts.server.leaveClients();
  }

  openFile(readOnly: boolean): string {
    return this.#parts.kernelFile.open(readOnly);
  }

  /** `main SECTOR WORDS…` goes to the target of main's table at that sector, everything else to the remap target. */
  async message(sector: number, words: readonly string[]): Promise<string> {
    const { main, remap } = this.#parts;
    const sectorCount = remap.geometry.sizeBytes / sectorBytes;
    if (sector >= sectorCount) {
      throw new TargetError(
        'MESSAGE_SECTOR',
        `sector ${sector} is outside the device of ${sectorCount} sectors`,
      );
    }
    if (words[0] === 'spare') return await this.#spareMessage(words);
    if (words[0] !== 'main') return await remap.message(words);
    if (main.access !== 'table') {
      throw new TargetError(
        'MESSAGE_UNKNOWN',
        'main: is a disk, not a table with targets that take messages',
      );
    }
    const mainSector = parseSectorNumber(words[1] ?? '');
    if (mainSector === undefined) {
      throw new TargetError(
        'MESSAGE_ARGUMENT',
        'main: expected a sector of main, then the words for its target',
      );
    }
    return await main.device.message(mainSector, words.slice(2));
  }

  /** `spare`, with each of them and how far a command is; `spare replace|add|remove PATH …`, which only begins it. */
  async #spareMessage(words: readonly string[]): Promise<string> {
    const { exchange, roster, remap } = this.#parts;
    const [, verb, path, ...choices] = words;
    if (verb !== 'replace' && verb !== 'add' && verb !== 'remove') {
      return [await remap.message(words), ...exchange.lines(), ...roster.lines()].join('\n');
    }
    const known = spareWords[verb];
    if (path === undefined || choices.some((word) => !known.includes(word))) {
      const usage = ['PATH', ...known.map((word) => `[${word}]`)].join(' ');
      throw new MessageError('MESSAGE_INVALID', `spare ${verb}: expected ${usage}`);
    }
    if (remap.suspended) {
      throw new MessageError(
        'MESSAGE_SUSPENDED',
        `the device is suspended: resume it before 'spare ${verb}'`,
      );
    }
    const has = (word: string): boolean => choices.includes(word);
    if (verb === 'add') {
      await roster.add(path, { overwrite: has('overwrite'), check: has('check') });
      return `adding ${path}`;
    }
    if (verb === 'remove') {
      await roster.remove(path, has('give-up'));
      return `removing ${path}`;
    }
    await exchange.begin(path, { giveUp: has('give-up'), overwrite: has('overwrite') });
    return `replacing the spare by ${path}`;
  }
}

async function refuseAnotherDisk({ device, path }: OpenedDisk): Promise<void> {
  const trouble = await device.identityTrouble();
  if (trouble === undefined) return;
  throw new SetupError(
    'refused',
    `${path}: ${trouble}: plug in the disk that was there, or remove the device`,
  );
}
