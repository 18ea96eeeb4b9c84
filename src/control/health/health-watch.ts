import { sectorBytes } from '../../block/block-device.ts';
import type { Clock, ScheduledAction } from '../../block/clock.ts';
import { EventReader } from '../../device/log/event-reader.ts';
import type { DeviceStatus, HealthEvent } from '../../device/messages.ts';
import { type Assessment, assessHealth, isBySmart, scoreOf } from '../../health/assess-health.ts';
import { type BadPlaces, badPlacesOf, mapCells, regionsOfMap } from '../../health/bad-places.ts';
import { type Growth, growthOf, withEvents } from '../../health/event-ledger.ts';
import { isNews, scoreMax, toldReasonsMax } from '../../health/health-score.ts';
import type { HealthStatus } from '../../health/health-status.ts';
import { AskError } from '../data-plane-client.ts';
import {
  type AskedDisk,
  askDisks,
  diskFacts,
  diskHealth,
  disksOfDevice,
  type FindDisks,
  keepAnswers,
} from './disk-smart.ts';
import { HealthStore } from './health-store.ts';
import type { Smartctl } from './smartctl.ts';
import { type SparesView, sparesView } from './spares-view.ts';

/** How often everything is looked at when nothing happens: disks are asked for SMART no oftener by themselves. */
export const lookIntervalMs = 1_800_000;
/** The first look: when the device has begun to serve, and before anybody asks. */
export const firstLookMs = 10_000;
/** News is looked at so long after it came, for more to come with it, … */
export const newsDelayMs = 5_000;
/** … and so long after the last look: a large table is walked for it. */
export const newsSpacingMs = 60_000;
/** Who asks by hand is told what the disks said in this time. */
export const smartFreshMs = 60_000;

/** The questions of `ControlAsk` that a look needs. */
export interface DeviceQuestions {
  readonly status: () => Promise<DeviceStatus>;
  /** The reply to `message 0 WORDS`. */
  readonly message: (words: readonly string[]) => Promise<string>;
}

export interface HealthWatchParts {
  readonly device: DeviceQuestions;
  readonly clock: Clock;
  readonly smartctl: Smartctl;
  readonly findDisks: FindDisks;
  readonly tell: (event: HealthEvent) => void;
}

/** What is known since somebody last looked at the table. */
interface TableView {
  /** Of the counts then: as long as they are the same, so is the table. */
  readonly counts: string;
  readonly places: BadPlaces;
}

/**
 * Looks from time to time at what the device has seen and what SMART says, and judges it. Beside the data path: it asks what any
 * client of the control API may ask, and reads files. With the policy `health` off it does nothing at all.
 */
export class HealthWatch {
  readonly #parts: HealthWatchParts;
  readonly #store = new HealthStore();
  #reader: EventReader | undefined;
  #asked: readonly AskedDisk[] = [];
  #smartMs = Number.NEGATIVE_INFINITY;
  #table: TableView | undefined;
  #spares: SparesView = { fullInDays: null, morePaths: [] };
  #lookedMs = Number.NEGATIVE_INFINITY;
  #lookedUnixSeconds = 0;
  #trouble = '';
  #looking: Promise<HealthStatus | null> | undefined;
  #timer: ScheduledAction | undefined;
  #dueMs = Number.POSITIVE_INFINITY;
  #closed = false;

  constructor(parts: HealthWatchParts) {
    this.#parts = parts;
    this.#lookIn(firstLookMs);
  }

  /** What is known, with what the device says now. Null while the policy is off. */
  async healthOf(status: DeviceStatus): Promise<HealthStatus | null> {
    if (isOff(status)) return null;
    await this.#store.load(status);
    return this.#judge(status);
  }

  /** Looks at everything now; disks that were asked within `smartFreshMs` are not asked again. Null while the policy is off. */
  look(): Promise<HealthStatus | null> {
    return this.#lookOnce(smartFreshMs);
  }

  /** Something happened to the disks. */
  news(): void {
    const sinceMs = this.#parts.clock.nowMs() - this.#lookedMs;
    this.#lookIn(Math.max(newsDelayMs, newsSpacingMs - sinceMs));
  }

  /** Resolves when nobody looks. */
  async settled(): Promise<void> {
    await this.#looking?.catch(() => undefined);
  }

  async close(): Promise<void> {
    this.#closed = true;
    this.#timer?.cancel();
    await this.#reader?.close();
  }

  /** The sooner of two looks that are due is the one. */
  #lookIn(delayMs: number): void {
    const dueMs = this.#parts.clock.nowMs() + delayMs;
    if (this.#closed || this.#dueMs <= dueMs) return;
    this.#timer?.cancel();
    this.#dueMs = dueMs;
    this.#timer = this.#parts.clock.schedule(delayMs, () => {
      this.#dueMs = Number.POSITIVE_INFINITY;
      // Half an hour is half an hour for disks, whatever happens in between.
      void this.#lookOnce(lookIntervalMs - newsSpacingMs).then(
        () => undefined,
        (error: unknown) => {
          if (!(error instanceof AskError)) throw error;
          this.#lookIn(newsSpacingMs);
        },
      );
    });
  }

  /** Whoever asks during a look gets that one. */
  #lookOnce(smartAgeMs: number): Promise<HealthStatus | null> {
    this.#looking ??= this.#lookAtAll(smartAgeMs).finally(() => {
      this.#looking = undefined;
      this.#lookIn(lookIntervalMs);
    });
    return this.#looking;
  }

  async #lookAtAll(smartAgeMs: number): Promise<HealthStatus | null> {
    const { device, clock, tell } = this.#parts;
    const status = await device.status();
    if (isOff(status)) return null;
    await this.#store.load(status);
    this.#trouble = '';
    const ledger = withEvents(this.#store.record.ledger, await this.#newEvents(status));
    await this.#lookAtTable(status);
    let record = { ...this.#store.record, ledger };
    if (clock.nowMs() - this.#smartMs >= smartAgeMs) {
      this.#smartMs = clock.nowMs();
      const disks = await disksOfDevice(status, this.#spares.morePaths, this.#parts.findDisks);
      this.#asked = await askDisks(disks, this.#parts.smartctl, Math.floor(clock.unixMs() / 1000));
      // What was killed for the end says nothing, and nobody is there to be told.
      if (this.#closed) return null;
      const answers = keepAnswers(record, this.#asked);
      record = { ...record, ...answers.record };
      for (const increased of answers.increased) tell({ kind: 'smart-increased', ...increased });
    }
    this.#lookedMs = clock.nowMs();
    this.#lookedUnixSeconds = Math.floor(clock.unixMs() / 1000);
    await this.#store.keep(status, record);
    await this.#tellChange(status);
    return this.#judge(status);
  }

  /** Told when kept: a crash in between tells it again, and never not. */
  async #tellChange(status: DeviceStatus): Promise<void> {
    const { record } = this.#store;
    const { score, reasons, advice } = this.#judge(status);
    // What the disks said of themselves when they were first asked was there before us, and is told as such.
    const first = record.toldScore === null ? scoreOf(reasons.filter(isBySmart)) : null;
    const told = record.toldScore ?? first ?? scoreMax;
    const isFirst = first !== null && score === told && score < scoreMax;
    if (isFirst || isNews(score, told)) {
      this.#parts.tell({
        kind: 'health-changed',
        score,
        before: isFirst ? null : told,
        reasons: reasons.slice(0, toldReasonsMax).map(({ text }) => text),
        advice: advice.map(({ text }) => text),
      });
    } else if (first === null) return;
    await this.#store.keep(status, { ...record, toldScore: score });
  }

  async #newEvents({ eventLog }: DeviceStatus) {
    if (this.#reader?.path !== eventLog.path) {
      await this.#reader?.close();
      this.#reader = new EventReader(eventLog.path);
    }
    try {
      return (await this.#reader.read()).map(({ event }) => event);
    } catch (error) {
      this.#trouble = `the event log cannot be read (${error instanceof Error ? error.message : String(error)})`;
      return [];
    }
  }

  async #lookAtTable(status: DeviceStatus): Promise<void> {
    // Without its spare a device takes no messages.
    if (status.spare === null) return;
    const { device } = this.#parts;
    const counts = JSON.stringify(tableCounts(status));
    try {
      this.#spares = sparesView(await device.message(['spare']));
      if (this.#table?.counts === counts) return;
      const regions = regionsOfMap(await device.message(['map', String(mapCells)]));
      this.#table = { counts, places: badPlacesOf(regions, status.sizeBytes / sectorBytes) };
    } catch (error) {
      if (!(error instanceof AskError)) throw error;
      this.#trouble = `the table could not be looked at: ${error.message}`;
    }
  }

  #judge(status: DeviceStatus): HealthStatus {
    const { record } = this.#store;
    const growth = growthOf(record.ledger, this.#parts.clock.unixMs());
    const { places = null } = this.#table ?? {};
    const { fullInDays: spareFullInDays } = this.#spares;
    return {
      ...this.#assess(status, growth, places, spareFullInDays),
      growth,
      places,
      spareFullInDays,
      disks: this.#asked.map((asked) => diskHealth(record, asked)),
      lookedUnixSeconds: this.#lookedUnixSeconds,
      trouble: this.#trouble || this.#store.trouble,
    };
  }

  #assess(
    { remap }: DeviceStatus,
    growth: Growth,
    places: BadPlaces | null,
    spareFullInDays: number | null,
  ): Assessment {
    const tenthsWithErrors = places?.tenths.filter((sectors) => sectors > 0).length ?? 0;
    return assessHealth({
      device: { ...remap, growth, tenthsWithErrors, spareFullInDays },
      disks: diskFacts(this.#store.record, this.#asked),
    });
  }
}

function isOff({ remap }: DeviceStatus): boolean {
  return remap.changedPolicies['health'] === 'off';
}

function tableCounts({ remap }: DeviceStatus): readonly number[] {
  const { remappedSectors, unreadableSectors, freshZeroSectors, goneSectors, slotsFree } = remap;
  return [remappedSectors, unreadableSectors, freshZeroSectors, goneSectors, slotsFree];
}
