import { formatExactBytes } from '../../block/byte-text.ts';
import { describeIdentity } from '../../io/identity-verdict.ts';
import type { EngineChoice } from '../../io/io-engine.ts';
import { claimSpare, devicesOf } from '../../metadata/claim-spare.ts';
import { planLayout, type SpareLayout } from '../../metadata/layout.ts';
import { MetadataStore } from '../../metadata/metadata-store.ts';
import { SpareIo } from '../../metadata/spare-io.ts';
import { scanSuperblocks } from '../../metadata/superblock-scan.ts';
import { type ClosingStep, runClosingSteps } from '../closing-steps.ts';
import { ownHostIdentity } from '../host/host-identity.ts';
import { identityRecord } from '../main/main-identity.ts';
import type { CacheMode, MainChoice } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import { isWorldError, setupErrorOf } from '../setup-failure.ts';
import { refusePolicies } from '../stack/chosen-policies.ts';
import { Disks, type OpenedDisk, type OpenedMain } from '../stack/disks.ts';
import { refuseWithoutFlush } from '../stack/nbd-disk.ts';
import { takeoverNotes } from '../stack/open-spare.ts';
import { type BurnInReport, burnIn, retireSlots } from './burn-in.ts';
import { describeClosed, describeOpen, describeUnread } from './candidate.ts';
import { type CandidateFacts, createRefusal, createWarnings } from './create-safety.ts';
import { allocateSpareFile } from './spare-file.ts';

/** A main whose reads hang must not hang `create` (I1). */
const closeDeadlineMs = 2_000;

export interface CreateOptions {
  readonly name: string;
  readonly main: MainChoice;
  readonly sparePath: string;
  readonly cache: CacheMode;
  /** As `ServeOptions.io`. */
  readonly io?: EngineChoice;
  readonly overwriteSpare: boolean;
  /** Also a spare that somebody marks as in use (M11). Default false. */
  readonly takeover?: boolean;
  /** R13: main's old content is worthless: what nobody has written and main cannot read reads as zeros. Default false. */
  readonly fresh?: boolean;
  /** Policies in the operator's words, by name; defaults for the others. */
  readonly policies?: Readonly<Record<string, string>>;
  /** Writes and reads back every slot first, and tells how far it is; bad slots are never used. Default: none of it. */
  readonly checkSpare?: (doneBytes: number, totalBytes: number) => void;
  /** The size that the operator's table line says; checked against main. */
  readonly lengthBytes?: number;
}

/** What was made, for people. */
export interface CreateReport {
  readonly sizeBytes: number;
  readonly main: string;
  readonly spare: string;
  readonly layout: string;
  /** Of `checkSpare`. */
  readonly check?: { readonly slots: number; readonly bad: number };
  readonly warnings: readonly string[];
}

/**
 * Formats a spare for a main, after every check of M17. The spare is the only thing written to, and the last thing done.
 * Both are closed again: `openStack` serves them. Throws `SetupError`.
 */
export async function createDevice(options: CreateOptions): Promise<CreateReport> {
  refusePolicies(options.policies ?? {});
  try {
    // What can be refused without opening anything is: an open alone makes some disks spin up or retry for seconds.
    const spare = await describeSpare(options.sparePath);
    if (options.main.kind === 'path') refuseUnread(await describeClosed(options.main.path), spare);
    return await createWith(spare, options);
  } catch (error) {
    throw setupErrorOf(error, options.sparePath);
  }
}

async function describeSpare(path: string): Promise<CandidateFacts> {
  try {
    return await describeClosed(path);
  } catch (error) {
    const known = setupErrorOf(error, path);
    if (!(known instanceof SetupError) || known.reason !== 'not-found') throw known;
    throw new SetupError(
      'not-found',
      `${path}: no such file or device; --create-spare SIZE makes an image file`,
      {
        cause: error,
      },
    );
  }
}

/** Throws what no option overrides. */
function refuseUnread(main: CandidateFacts, spare: CandidateFacts): void {
  const refusal = createRefusal(main, spare, { overwriteSpare: true });
  if (refusal !== undefined) throw refusal;
}

async function createWith(spareFacts: CandidateFacts, options: CreateOptions): Promise<CreateReport> {
  const steps: ClosingStep[] = [];
  const closeBy = (name: string, run: () => Promise<void>): void => {
    steps.unshift({ name, deadlineMs: closeDeadlineMs, run });
  };
  const disks = new Disks(options);
  closeBy('engine', () => disks.close());
  try {
    const main = await disks.openMain(options.main, options.cache);
    closeBy('main', () => main.device.close());
    // Of a table only now is known what it lies on.
    refuseUnread(await describeUnread(main.path, main), spareFacts);
    const spare = await disks.open(options.sparePath, options.cache);
    closeBy('spare', () => spare.device.close());
    refuseWithoutFlush(spare);
    return await createOn(disks, main, spare, options);
  } finally {
    await runClosingSteps(steps, disks.plane.clock, isWorldError);
  }
}

async function createOn(
  disks: Disks,
  main: OpenedMain,
  spare: OpenedDisk,
  options: CreateOptions,
): Promise<CreateReport> {
  const { clock, arena, random } = disks.plane;
  const mainPath = options.main.kind === 'path' ? options.main.path : main.path;
  const mainFacts = await describeOpen(mainPath, main, clock);
  const spareFacts = await describeOpen(options.sparePath, spare, clock);
  const refusal = createRefusal(mainFacts, spareFacts, options);
  if (refusal !== undefined) throw refusal;
  refuseLength(options, main);
  const granuleBytes = granuleOf(main, spare);
  const mainSizeBytes = main.device.geometry.sizeBytes;
  const fresh = options.fresh === true;
  const layout = planLayout(spare.device.geometry.sizeBytes, mainSizeBytes, granuleBytes, { fresh });
  const io = new SpareIo(spare.device, arena, clock);
  const taker = { host: ownHostIdentity(), takeover: options.takeover === true };
  const claim = await claimSpare(io, random, devicesOf(await scanSuperblocks(io)), taker);
  // At once: where the marks are now may be anything in the new layout. A released one stops whoever had the spare, too.
  await claim.release();
  await allocateSpareFile(spare);
  const check = await checkFirst(disks, spare, layout, options);
  const metadataParts = { spare: spare.device, arena, clock, random };
  await MetadataStore.create(metadataParts, {
    mainSizeBytes,
    logicalBlockBytes: main.device.geometry.logicalBlockBytes,
    granuleBytes,
    fresh,
    properties: {
      name: options.name,
      mainIdentity: identityRecord(main),
      spareIdentity: identityRecord(spare),
      policies: options.policies ?? {},
    },
  });
  if (check !== undefined && check.badSlots.length > 0) await retireSlots(metadataParts, check.badSlots);
  return {
    sizeBytes: mainSizeBytes,
    main: describeMain(main),
    spare: describeIdentity(spare.identity),
    layout: layout.explanation(),
    ...(check === undefined ? {} : { check: { slots: check.slotsChecked, bad: check.badSlots.length } }),
    warnings: [...claim.takenOver.flatMap(takeoverNotes), ...createWarnings(mainFacts, spareFacts)],
  };
}

function checkFirst(
  { plane: { arena, random } }: Disks,
  { device }: OpenedDisk,
  layout: SpareLayout,
  { checkSpare: onProgress }: CreateOptions,
): Promise<BurnInReport | undefined> {
  return onProgress === undefined
    ? Promise.resolve(undefined)
    : burnIn({ device, arena, random, layout, onProgress });
}

/** The larger physical block of the two (R10): so a slot is whole blocks of the spare, also of one larger than main's (R9). */
function granuleOf(main: OpenedMain, spare: OpenedDisk): number {
  return Math.max(main.device.geometry.physicalBlockBytes, spare.device.geometry.physicalBlockBytes);
}

function refuseLength(options: CreateOptions, main: OpenedMain): void {
  const { sizeBytes } = main.device.geometry;
  if (options.lengthBytes === undefined || options.lengthBytes === sizeBytes) return;
  throw new SetupError(
    'usage',
    `${main.path}: the table says ${options.lengthBytes / 512} sectors, main has ${sizeBytes / 512}`,
  );
}

function describeMain(main: OpenedMain): string {
  if (main.access !== 'table') return describeIdentity(main.identity);
  return `${main.path}: ${formatExactBytes(main.device.geometry.sizeBytes)} over ${main.disks.map((disk) => disk.path).join(', ')}`;
}
