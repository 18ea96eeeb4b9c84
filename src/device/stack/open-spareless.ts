import type { TableCopyHeader } from '../../metadata/table-copy-header.ts';
import { NbdServer } from '../../nbd/server.ts';
import { SparelessDevice } from '../../remap/spareless-device.ts';
import { closingStep } from '../closing-deadlines.ts';
import type { ClosingStep } from '../closing-steps.ts';
import { RecordedState } from '../host/recorded-state.ts';
import { findTableCopy } from '../host/table-copies.ts';
import { missingMain } from '../main/main-check.ts';
import { identityDifference, isProven, recordedMain } from '../main/main-identity.ts';
import type { ServeOptions } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { utcText } from '../utc-text.ts';
import { Disks, type OpenedMain } from './disks.ts';
import { clientEvents, exportClosing, listenForClients } from './export-server.ts';
import { KernelFile } from './kernel-file.ts';
import { SparelessStack } from './spareless-stack.ts';
import type { StackSurroundings } from './stack-surroundings.ts';

/** M13: opens main alone, read-only, over this host's copy of the table. `steps` close it, last first. Nothing is written. */
export async function openSpareless(
  options: ServeOptions,
  surroundings: StackSurroundings,
  steps: ClosingStep[],
): Promise<SparelessStack> {
  const { clock, stateDirectory, claim, events, onBusySecond } = surroundings;
  const { header, records } = await findTableCopy(stateDirectory, options.name ?? '');
  const folder = claim(header.name, header.uuid);
  const disks = new Disks(options);
  steps.push(closingStep('engine', () => disks.close()));
  const choice = options.main ?? recordedMain(header.mainIdentity);
  const main = await disks.openMain(choice, options.cache, 'read-only').catch((error: unknown) => {
    throw options.main === undefined ? missingMain(error, choice) : error;
  });
  steps.push(closingStep('main', () => main.device.close()));
  const notes = [...disks.engineNotes, copyNote(header), ...checkMain(main, header, options)];
  const state = new RecordedState(records);
  const device = new SparelessDevice({
    name: header.name,
    main: main.device,
    table: state.table,
    geometry: {
      sizeBytes: header.mainSizeBytes,
      logicalBlockBytes: header.logicalBlockBytes,
      physicalBlockBytes: header.granuleBytes,
    },
  });
  const { name } = header;
  const server = new NbdServer({
    exports: [{ name, device }],
    arena: disks.plane.arena,
    clock,
    ...clientEvents(events),
    onBusySecond,
  });
  steps.push(exportClosing(server, () => undefined));
  const exports = listenForClients(server, disks, folder, options);
  const parts = {
    name,
    exports,
    memory: disks.memory,
    engine: disks.engine,
    main,
    device,
    header,
    state,
    server,
    kernelFile: new KernelFile(server, disks.plane),
    stateDirectory: stateDirectory ?? '',
  };
  return new SparelessStack(parts, notes, [...steps].reverse());
}

function checkMain(main: OpenedMain, header: TableCopyHeader, options: ServeOptions): readonly string[] {
  const { geometry } = main.device;
  const refused = (why: string): SetupError => new SetupError('refused', `${main.path}: ${why}`);
  if (geometry.sizeBytes < header.mainSizeBytes) {
    throw refused(`has ${geometry.sizeBytes} bytes, the table is for ${header.mainSizeBytes}`);
  }
  if (geometry.logicalBlockBytes > header.logicalBlockBytes) {
    throw refused(
      `has logical blocks of ${geometry.logicalBlockBytes} bytes, the table is for ${header.logicalBlockBytes}`,
    );
  }
  const difference = identityDifference(header.mainIdentity, main);
  if (difference !== undefined && !options.acceptMain) {
    throw refused(`is not the main of this device: ${difference}; --accept-main takes it`);
  }
  if (options.main === undefined && !isProven(header.mainIdentity, main)) {
    throw refused(
      `has no WWN and no serial, so nobody can tell whether it still is the main; if it is: --main ${main.path}`,
    );
  }
  return difference === undefined ? [] : [`main was changed: ${difference}`];
}

function copyNote(header: TableCopyHeader): string {
  const when = utcText(header.writtenUnixSeconds);
  const rest = header.complete
    ? 'it is from a clean end and complete'
    : 'blocks moved less than 60 s before the device ended may be missing and are then read as main has them: older';
  return `without its spare, read-only: moved and lost blocks are errors; copy of the table of ${when}, sequence ${header.sequence}: ${rest}`;
}
