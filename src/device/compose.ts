import { resolve } from 'node:path';
import { sectorBytes } from '../block/block-device.ts';
import type { Clock } from '../block/clock.ts';
import { parseSectorNumber } from '../mapping/table-syntax.ts';
import { TargetError } from '../mapping/target-error.ts';
import { MetadataStore, type OpenedMetadata } from '../metadata/metadata-store.ts';
import { NbdCounter } from '../nbd/counters.ts';
import { NbdServer } from '../nbd/server.ts';
import { openRemapDevice } from '../remap/open-remap.ts';
import type { RemapDevice } from '../remap/remap-device.ts';
import { Disks, type OpenedDisk, type OpenedMain } from './disks.ts';
import { type ClosingStep, runClosingSteps } from './lifecycle.ts';
import { identityDifference, identityRecord, recordedMain } from './main-identity.ts';
import type { DeviceStatus, DeviceTable, DiskStatus } from './messages.ts';
import { remapSummary } from './remap-summary.ts';
import { formatRemapTable } from './remap-table.ts';
import type { DeviceFolder } from './runtime-directory.ts';
import type { CacheMode, ServeOptions } from './serve-options.ts';
import { SetupError } from './setup-error.ts';
import { isWorldError, setupErrorOf } from './setup-failure.ts';

/** How long each step of closing may take. A drive's own error recovery is 7 s where it has a limit at all. */
const exportDeadlineMs = 10_000;
/** Of that, for dropping what is left. */
const exportMarginMs = 2_000;
const flushDeadlineMs = 60_000;
const remapDeadlineMs = 30_000;
const diskDeadlineMs = 10_000;

export interface StackSurroundings {
  readonly clock: Clock;
  /** Called once the device's name is known, before anything is written: makes the name ours. */
  readonly claim: (name: string) => DeviceFolder;
  /** One line about something that an operator may want to know. */
  readonly log: (event: string) => void;
}

/** The part of the status that the stack knows. */
export type StackStatus = Omit<
  DeviceStatus,
  'state' | 'pid' | 'version' | 'startedUnixSeconds' | 'controlRestarts'
>;

/** Opens everything under and over one device; on failure everything is closed again. Throws `SetupError`. */
export async function openStack(options: ServeOptions, surroundings: StackSurroundings): Promise<Stack> {
  const steps: ClosingStep[] = [];
  try {
    return await new StackOpening(options, surroundings, steps).open();
  } catch (error) {
    await runClosingSteps(steps.reverse(), surroundings.clock, isWorldError);
    throw setupErrorOf(error, options.sparePath);
  }
}

/**
 * The order of opening; closing is the same order backwards (I6):
 *
 *     memory and engine, spare, its metadata (read only) -> name claimed -> main, its identity checked
 *     -> remap settles the metadata, the first write -> export
 */
class StackOpening {
  readonly #options: ServeOptions;
  readonly #surroundings: StackSurroundings;
  readonly #steps: ClosingStep[];
  readonly #notes: string[] = [];

  constructor(options: ServeOptions, surroundings: StackSurroundings, steps: ClosingStep[]) {
    this.#options = options;
    this.#surroundings = surroundings;
    this.#steps = steps;
  }

  async open(): Promise<Stack> {
    const { clock, claim } = this.#surroundings;
    const disks = new Disks();
    this.#closeBy('engine', diskDeadlineMs, () => disks.close());
    const spare = await disks.open(this.#options.sparePath, this.#options.cache);
    this.#closeBy('spare', diskDeadlineMs, () => spare.device.close());
    const { arena, random } = disks.plane;
    const metadata = await MetadataStore.open(
      { spare: spare.device, arena, clock, random },
      { force: this.#options.force },
    );
    const { properties } = metadata.facts;
    const name = this.#options.name ?? properties.name;
    const folder = claim(name);
    const main = await this.#openMain(disks, metadata);
    const remap = await openRemapDevice(
      { main: main.device, spare: spare.device, metadata, arena, clock },
      {
        // Reading back through the page cache proves nothing about a disk (R24).
        verifySlots: spare.access === 'direct',
        settle: {
          properties: {
            ...properties,
            name,
            mainIdentity: identityRecord(main),
            spareIdentity: identityRecord(spare),
          },
        },
      },
    );
    this.#closeBy('remap', remapDeadlineMs, () => remap.close());
    this.#closeBy('flush', flushDeadlineMs, () => remap.flush());
    this.#noteReplicas(metadata);
    const { server, exports } = this.#export(disks, remap, name, folder);
    const parts: StackParts = {
      name,
      exports,
      cache: this.#options.cache,
      main,
      spare,
      metadata,
      remap,
      server,
    };
    return new Stack(parts, this.#notes, [...this.#steps].reverse());
  }

  /** Main as asked for, or where the spare last saw it; a main that is not the spare's is refused before any write. */
  async #openMain(disks: Disks, metadata: OpenedMetadata): Promise<OpenedMain> {
    const recorded = metadata.facts.properties.mainIdentity;
    const choice = this.#options.main ?? recordedMain(recorded);
    const { cache, acceptMain } = this.#options;
    const main = await disks.openMain(choice, cache);
    this.#closeBy('main', diskDeadlineMs, () => main.device.close());
    const difference = identityDifference(recorded, main);
    if (difference === undefined) return main;
    if (!acceptMain) {
      throw new SetupError(
        'refused',
        `${main.path}: is not the main of this spare: ${difference}; --accept-main takes it`,
      );
    }
    this.#notes.push(`main was changed: ${difference}`);
    return main;
  }

  #export(
    disks: Disks,
    remap: RemapDevice,
    name: string,
    folder: DeviceFolder,
  ): { server: NbdServer; exports: string[] } {
    const { socketPath, port } = this.#options;
    const server = new NbdServer({
      device: remap,
      arena: disks.plane.arena,
      clock: this.#surroundings.clock,
      exportName: name,
      onProtocolError: this.#surroundings.log,
    });
    this.#closeBy('export', exportDeadlineMs, async () => {
      const outstanding = await server.close(exportDeadlineMs - exportMarginMs);
      if (outstanding > 0) {
        throw new SetupError(
          'failed',
          `${outstanding} requests were not finished by the disks and are left to them`,
        );
      }
    });
    const unixPath = resolve(socketPath ?? folder.nbdSocketPath);
    server.listen(disks.plane.listenUnix(unixPath));
    const exports = [`nbd+unix:///${name}?socket=${unixPath}`];
    if (port !== undefined) {
      const listener = disks.plane.listenTcp('127.0.0.1', port);
      server.listen(listener);
      exports.push(`nbd://${listener.address}/${name}`);
    }
    return { server, exports };
  }

  #noteReplicas({ report }: OpenedMetadata): void {
    for (const replica of report.replicas) {
      if (replica.condition === 'valid') continue;
      this.#notes.push(`metadata replica ${replica.index} was ${replica.condition} and was rewritten`);
    }
    if (report.forced)
      this.#notes.push('opened by force from replicas out of sync: acknowledged changes may be missing');
  }

  #closeBy(name: string, deadlineMs: number, run: () => Promise<void>): void {
    this.#steps.push({ name, deadlineMs, run });
  }
}

interface StackParts {
  readonly name: string;
  readonly exports: readonly string[];
  readonly cache: CacheMode;
  readonly main: OpenedMain;
  readonly spare: OpenedDisk;
  readonly metadata: OpenedMetadata;
  readonly remap: RemapDevice;
  readonly server: NbdServer;
}

/** One device, open and exported. */
export class Stack {
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

  get exports(): readonly string[] {
    return this.#parts.exports;
  }

  /** In the order in which they must run. */
  closingSteps(): readonly ClosingStep[] {
    return this.#closingSteps;
  }

  describe(): StackStatus {
    const { name, exports, cache, main, spare, metadata, remap, server } = this.#parts;
    const status = remap.status();
    return {
      name,
      uuid: metadata.facts.uuid,
      sizeBytes: remap.geometry.sizeBytes,
      logicalBlockBytes: remap.geometry.logicalBlockBytes,
      physicalBlockBytes: remap.geometry.physicalBlockBytes,
      main: diskStatus(main),
      spare: diskStatus(spare),
      remap: remapSummary(status),
      exports,
      connections: server.counters[NbdCounter.connectionsOpen] ?? 0,
      requestsInFlight: status.requestsInFlight,
      engine: 'io_uring',
      cache,
      notes: this.notes,
    };
  }

  table(): DeviceTable {
    const { main, spare, remap } = this.#parts;
    const lengthBytes = remap.geometry.sizeBytes;
    return {
      lines: [formatRemapTable({ mainPath: main.path, sparePath: spare.path, lengthBytes })],
      mainLines: main.access === 'table' ? main.device.status('table') : [],
    };
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
}

function diskStatus(disk: OpenedMain): DiskStatus {
  return {
    path: disk.path,
    sizeBytes: disk.device.geometry.sizeBytes,
    model: disk.access === 'table' ? '' : disk.identity.model,
    serial: disk.access === 'table' ? '' : disk.identity.serial,
    access: disk.access,
  };
}
