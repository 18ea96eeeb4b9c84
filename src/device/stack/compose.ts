import { assert } from '../../block/assert.ts';
import { sectorBytes } from '../../block/block-device.ts';
import { udevNames } from '../../io/udev-names.ts';
import { MetadataStore, type OpenedMetadata } from '../../metadata/metadata-store.ts';
import type { NbdExport } from '../../nbd/export-list.ts';
import { NbdServer } from '../../nbd/server.ts';
import { openRemapDevice } from '../../remap/open-remap.ts';
import type { RemapDevice } from '../../remap/remap-device.ts';
import { AlignmentFilter } from '../../remap/request/alignment-filter.ts';
import { LeavableDevice } from '../../remap/spare/leavable-device.ts';
import { ReplaceableSpare } from '../../remap/spare/replaceable-spare.ts';
import { type ClosingStepName, closingStep } from '../closing-deadlines.ts';
import { type ClosingStep, runClosingSteps } from '../closing-steps.ts';
import { HiddenMain, hiddenFolder } from '../host/hidden-main.ts';
import { ownHostIdentity } from '../host/host-identity.ts';
import { HostState } from '../host/host-state.ts';
import { HostStateWriter } from '../host/host-state-writer.ts';
import { DiskEvents } from '../log/disk-events.ts';
import type { SlotCounts } from '../log/spare-filling.ts';
import { CutFiles } from '../main/cut-main.ts';
import { checkMain, missingMain } from '../main/main-check.ts';
import { identityRecord, recordedMain } from '../main/main-identity.ts';
import { stampMain } from '../main/stamp-main.ts';
import type { DeviceFolder } from '../process/runtime-directory.ts';
import type { ServeOptions } from '../serve-options.ts';
import { isWorldError, setupErrorOf } from '../setup-failure.ts';
import { checkCutSpare } from '../spare/cut-spare.ts';
import { SpareCare } from '../spare/spare-care.ts';
import { fillSpareHoles } from '../spare/spare-file.ts';
import { checkSpare } from '../spare/spare-identity.ts';
import { refuseUsed } from './disk-in-use.ts';
import { Disks, type OpenedDisk, type OpenedMain } from './disks.ts';
import { clientEvents, exportClosing, listenForClients, mainExportName } from './export-server.ts';
import { findMembers, type LocatedMember } from './find-members.ts';
import { KernelFile } from './kernel-file.ts';
import { refuseWithoutFlush } from './nbd-disk.ts';
import { takeoverNotes } from './open-spare.ts';
import { openSpareless } from './open-spareless.ts';
import { scrubberOf } from './scrub-care.ts';
import type { ServedStack } from './served-stack.ts';
import { SpareExchange } from './spare-exchange.ts';
import { SpareRoster, type SpareRosterParts } from './spare-roster.ts';
import { SpareTurn } from './spare-turn.ts';
import { Stack, type StackParts } from './stack.ts';
import type { StackSurroundings } from './stack-surroundings.ts';

/** Opens everything under and over one device; on failure everything is closed again. Throws `SetupError`. */
export async function openStack(
  options: ServeOptions,
  surroundings: StackSurroundings,
): Promise<ServedStack> {
  const steps: ClosingStep[] = [];
  try {
    if (options.withoutSpare === true) return await openSpareless(options, surroundings, steps);
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
  readonly #cutFiles: CutFiles;
  #hostWriter: HostStateWriter | undefined;
  #hiddenMain: HiddenMain | undefined;
  #remap: RemapDevice | undefined;
  #roster: SpareRoster | undefined;
  #located: readonly LocatedMember[] = [];

  constructor(options: ServeOptions, surroundings: StackSurroundings, steps: ClosingStep[]) {
    this.#options = options;
    this.#surroundings = surroundings;
    this.#steps = steps;
    this.#cutFiles = new CutFiles(surroundings.events);
  }

  async open(): Promise<Stack> {
    const { clock, claim } = this.#surroundings;
    // The last step: a file system that hangs must not keep the disks.
    this.#closeBy('host state', () => this.#settleHost());
    const disks = new Disks({
      ...this.#options,
      onCut: (path, hadBytes, hasBytes) => this.#cutFiles.note(path, hadBytes, hasBytes),
    });
    this.#notes.push(...disks.engineNotes);
    this.#closeBy('engine', () => disks.close());
    const spare = await disks.open(this.#options.sparePath, this.#options.cache);
    const replaceable = new ReplaceableSpare(new LeavableDevice(spare.device, { arena: disks.plane.arena }));
    this.#closeBy('spare', () => this.#closeSpares(replaceable));
    refuseWithoutFlush(spare);
    await refuseUsed(spare, 'spare');
    const { arena, random } = disks.plane;
    const host = ownHostIdentity();
    const found = await MetadataStore.open(
      { spare: replaceable, arena, clock, random },
      { force: this.#options.force, takeover: this.#options.takeover ?? false, ...(host && { host }) },
    );
    const { notes, records } = await checkCutSpare({ spare, metadata: found, force: this.#options.force });
    this.#notes.push(...notes);
    const metadata = { ...found, records };
    const { properties } = metadata.facts;
    const hostState = await this.#checkSpare(spare, metadata);
    const name = this.#options.name ?? properties.name;
    const folder = claim(name, metadata.facts.uuid);
    const main = await this.#openMain(disks, metadata);
    await this.#hideMain(main);
    if (!main.device.capabilities.flush) {
      this.#notes.push('main offers no flush: what is acknowledged may be lost when its server ends');
    }
    this.#notes.push(...(await fillSpareHoles(spare)));
    const located = await findMembers(disks, metadata, name, this.#options.cache);
    this.#located = located;
    const remap = await openRemapDevice(
      {
        ...{ main: main.device, spare: replaceable, metadata, arena, clock },
        members: { found: located, random },
      },
      {
        // Reading back through the page cache proves nothing about a disk (R24).
        verifySlots: spare.access !== 'buffered',
        settle: {
          properties: {
            ...properties,
            policies: { ...properties.policies, ...this.#options.policies },
            name,
            mainIdentity: identityRecord(main),
            spareIdentity: identityRecord(spare),
          },
        },
      },
    );
    this.#remap = remap;
    const hostWriter = this.#remember(hostState, name, main, spare, metadata, remap);
    const diskEvents = this.#watch(metadata, remap);
    this.#closeBy('remap', () => remap.close().finally(() => diskEvents.close()));
    const cutFiles = this.#cutFiles;
    cutFiles.record(main, metadata.store);
    this.#closeBy('stamp', () => stampMain({ main, metadata, remap, clock, cutFiles }));
    this.#careFor(metadata, remap);
    this.#closeBy('flush', () => remap.flushAdmitted());
    this.#noteReplicas(metadata);
    const { server, exports } = this.#export(disks, remap, name, folder);
    const { ticks, events } = this.#surroundings;
    const scrubber = scrubberOf({ remap, metadata, server, clock, ticks, events });
    const turn = new SpareTurn();
    const exchange = new SpareExchange({
      ...{ disks, clock, main, spare, replaceable, metadata, remap, hostWriter, turn },
      events,
      cache: this.#options.cache,
    });
    const roster = this.#rosterOf({ disks, main, exchange, metadata, remap, turn, located });
    this.#closeBy('replacement', async () => {
      scrubber.close();
      await Promise.all([exchange.close(), roster.close()]);
    });
    roster.resumeLeaving();
    const parts: StackParts = {
      name,
      exports,
      memory: disks.memory,
      engine: disks.engine,
      cache: this.#options.cache,
      main,
      exchange,
      roster,
      metadata,
      remap,
      scrubber,
      server,
      kernelFile: new KernelFile(server, disks.plane),
      hostWriter,
    };
    return new Stack(parts, this.#notes, [...this.#steps].reverse());
  }

  /** The roster knows those that came later. */
  async #closeSpares(home: ReplaceableSpare): Promise<void> {
    await Promise.all([home.close(), this.#roster?.closeDisks() ?? this.#closeLocated()]);
  }

  async #closeLocated(): Promise<void> {
    for (const { opened } of this.#located) await opened?.device.close();
  }

  #rosterOf(parts: Omit<SpareRosterParts, 'events' | 'cache' | 'members'>): SpareRoster {
    const { events } = this.#surroundings;
    const { members } = parts.remap;
    assert(members !== undefined, 'a device that is served has its spares');
    for (const [index, { absent, entry }] of parts.located.entries()) {
      const path = entry.identity['path'] ?? '';
      // One that was there may not have taken the first word of the session.
      const why = members.all[index]?.disk === undefined ? absent || 'it does not take writes' : '';
      if (why === '') continue;
      this.#notes.push(`the spare ${path} is not there, and what only it holds cannot be read: ${why}`);
      events.append({ kind: 'spare-absent', path, reason: why });
    }
    this.#roster = new SpareRoster({ ...parts, events, members, cache: this.#options.cache });
    return this.#roster;
  }

  /** M12: a spare that is older than what this host knows, or a copy, is refused before any write. */
  async #checkSpare(spare: OpenedDisk, metadata: OpenedMetadata): Promise<HostState | undefined> {
    const { stateDirectory } = this.#surroundings;
    const hostState = stateDirectory === undefined ? undefined : new HostState(stateDirectory);
    const { force } = this.#options;
    this.#notes.push(...(await checkSpare({ spare, facts: metadata.facts, hostState, force })));
    return hostState;
  }

  /** M16: before anything can come to lie elsewhere. Without it the device is as safe as its operator is careful. */
  async #hideMain(main: OpenedMain): Promise<void> {
    const folder = hiddenFolder();
    if (folder === undefined || main.access === 'table' || main.access === 'nbd') return;
    try {
      this.#hiddenMain = new HiddenMain(folder, await udevNames(main.path));
    } catch (error) {
      if (!isWorldError(error)) throw error;
      this.#notes.push(
        `main is not hidden from automounters: ${error instanceof Error ? error.message : ''}`,
      );
    }
  }

  /**
   * What the host remembers; and a main that has all data again may be seen again. Not when the machine or a service ends: at the
   * next boot somebody would mount it before it is served.
   */
  async #settleHost(): Promise<void> {
    await this.#hostWriter?.close();
    if (this.#hiddenMain === undefined || this.#remap === undefined || this.#surroundings.endsForNow())
      return;
    const { remappedGranules, goneSectors, metadata } = this.#remap.status();
    if (metadata.closedCleanly && remappedGranules + goneSectors === 0) this.#hiddenMain.show();
  }

  #remember(
    state: HostState | undefined,
    name: string,
    main: OpenedMain,
    spare: OpenedDisk,
    { facts, store }: OpenedMetadata,
    remap: RemapDevice,
  ): HostStateWriter | undefined {
    if (state === undefined) return undefined;
    const { uuid, mainSizeBytes, logicalBlockBytes, granuleBytes } = facts;
    const writer = new HostStateWriter({
      clock: this.#surroundings.ticks,
      state,
      table: remap.mappingState,
      status: () => store.status(),
      device: {
        uuid,
        name,
        mainSizeBytes,
        logicalBlockBytes,
        granuleBytes,
        mainIdentity: identityRecord(main),
        spareIdentity: identityRecord(spare),
      },
      complain: (detail) => this.#surroundings.events.append({ kind: 'host-state-failed', detail }),
    });
    this.#hostWriter = writer;
    writer.start();
    return writer;
  }

  /** Main as asked for, or where the spare last saw it; a main that is not the spare's is refused before any write. */
  async #openMain(disks: Disks, { facts, records }: OpenedMetadata): Promise<OpenedMain> {
    const { cache, acceptMain, acceptChanges } = this.#options;
    const named = this.#options.main !== undefined;
    const choice = this.#options.main ?? recordedMain(facts.properties.mainIdentity);
    const main = await disks.openMain(choice, cache).catch((error: unknown) => {
      throw named ? error : missingMain(error, choice);
    });
    this.#closeBy('main', () => main.device.close());
    await refuseUsed(main, 'main');
    const { clock } = this.#surroundings;
    this.#notes.push(...(await checkMain({ main, facts, records, clock, named, acceptMain, acceptChanges })));
    return main;
  }

  #export(
    disks: Disks,
    remap: RemapDevice,
    name: string,
    folder: DeviceFolder,
  ): { server: NbdServer; exports: string[] } {
    const server = new NbdServer({
      exports: this.#exported(remap, name),
      arena: disks.plane.arena,
      clock: this.#surroundings.clock,
      ...clientEvents(this.#surroundings.events),
      onBusySecond: this.#surroundings.onBusySecond,
    });
    // Suspended: what clients have sent is read now, and refused (R30).
    this.#steps.push(exportClosing(server, () => remap.refuseHeld()));
    return { server, exports: listenForClients(server, disks, folder, this.#options) };
  }

  /** The device, and main itself beside it unless that is not wanted. */
  #exported(remap: RemapDevice, name: string): readonly NbdExport[] {
    const inSectors = remap.geometry.logicalBlockBytes === sectorBytes;
    const device: NbdExport = {
      name,
      description: 'the device: main, with its bad sectors on the spare',
      device: remap,
      ...(inSectors ? {} : { unalignedDevice: new AlignmentFilter(remap) }),
    };
    if (remap.status().policies['export-main'] === 'off') return [device];
    const rawView = remap.rawView();
    this.#closeBy('raw view', () => rawView.close());
    const description = 'main alone, read-only: sectors that were moved are errors';
    return [device, { name: mainExportName(name), description, device: rawView, readOnly: true }];
  }

  #careFor({ store }: OpenedMetadata, remap: RemapDevice): void {
    const { ticks, events } = this.#surroundings;
    const care = new SpareCare({
      clock: ticks,
      store,
      events,
      onTaken: () => remap.refuseWrites(),
      suspended: () => remap.suspended,
    });
    this.#closeBy('heartbeat', () => care.close());
  }

  /** From here on what becomes of the disks is told; first, how they were found. */
  #watch({ facts, report }: OpenedMetadata, remap: RemapDevice): DiskEvents {
    const { clock, ticks, events } = this.#surroundings;
    if (!facts.cleanlyClosed) {
      const { remappedGranules, unreadableSectors, goneSectors } = remap.status();
      events.append({ kind: 'unclean-end', remappedGranules, unreadableSectors, goneSectors });
    }
    if (report.takenOver !== undefined) events.append({ kind: 'took-over', from: report.takenOver });
    const { replicasInSync: inSync, replicasTotal: total } = remap.status().metadata;
    for (const { index, condition } of report.replicas) {
      if (condition === 'valid') continue;
      const detail = `replica ${index} was ${condition}`;
      events.append({ kind: 'replica-repaired', inSync, total, detail });
    }
    const state = (): string => remap.state;
    const { granuleBytes } = facts;
    const slots = (): SlotCounts => remap.slots;
    const diskEvents = new DiskEvents({ clock, ticks, events, granuleBytes, state, slots });
    remap.observe(diskEvents);
    return diskEvents;
  }

  #noteReplicas({ report }: OpenedMetadata): void {
    this.#notes.push(...takeoverNotes(report.takenOver));
    for (const replica of report.replicas) {
      if (replica.condition === 'valid') continue;
      this.#notes.push(`metadata replica ${replica.index} was ${replica.condition} and was rewritten`);
    }
    if (report.forced)
      this.#notes.push('opened by force from replicas out of sync: acknowledged changes may be missing');
  }

  #closeBy(name: ClosingStepName, run: () => Promise<void>): void {
    this.#steps.push(closingStep(name, run));
  }
}
