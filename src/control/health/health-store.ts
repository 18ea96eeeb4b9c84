import { join } from 'node:path';
import { openIfThere, readWhole, replaceFile } from '../../device/host/durable-file.ts';
import type { DeviceStatus } from '../../device/messages.ts';
import {
  decodeRecord,
  emptyRecord,
  encodeRecord,
  type HealthRecord,
  recordBytesMax,
} from '../../health/health-record.ts';

const fileName = 'health';
const secondsPerDay = 86_400;

/** Keeps a device's health record in the host's state, beside the copy of its table; in memory alone where there is no such place. */
export class HealthStore {
  #record: HealthRecord = emptyRecord;
  #loaded = false;
  /** What the file says, times of a day apart. */
  #stored = '';
  #trouble = '';

  /** One clause; empty while all is well. */
  get trouble(): string {
    return this.#trouble;
  }

  get record(): HealthRecord {
    return this.#record;
  }

  /** Reads it, the first time. A damaged one is none: every count starts anew. Never rejects. */
  async load(status: DeviceStatus): Promise<void> {
    if (this.#loaded) return;
    this.#loaded = true;
    const folder = folderOf(status);
    if (folder === undefined) return;
    try {
      const bytes = await readWhole(join(folder, fileName), recordBytesMax);
      if (bytes === undefined) return;
      const record = decodeRecord(new TextDecoder().decode(bytes));
      if (record === undefined)
        this.#trouble = 'what was kept of earlier days is damaged; counting starts anew';
      else this.#record = record;
      this.#stored = comparable(this.#record);
    } catch (error) {
      this.#trouble = `what was kept of earlier days cannot be read (${messageOf(error)})`;
    }
  }

  /** Writes it when something else than the time has changed: an idle device writes once a day. Never rejects. */
  async keep(status: DeviceStatus, record: HealthRecord): Promise<void> {
    this.#record = record;
    const folder = folderOf(status);
    const text = comparable(record);
    if (folder === undefined || text === this.#stored) return;
    try {
      // The folder is the host state's; where that has none, there is nothing to write to.
      const handle = await openIfThere(folder);
      if (handle === undefined) return;
      await handle.close();
      const bytes = new TextEncoder().encode(encodeRecord(record));
      await replaceFile(folder, fileName, recordBytesMax, (write) => write(bytes));
      this.#stored = text;
      this.#trouble = '';
    } catch (error) {
      this.#trouble = `cannot be kept for later days (${messageOf(error)})`;
    }
  }
}

function folderOf({ hostState, uuid }: DeviceStatus): string | undefined {
  return hostState.directory === '' ? undefined : join(hostState.directory, uuid);
}

function comparable(record: HealthRecord): string {
  const disks = record.disks.map(({ key, history }) => ({
    key,
    history: { ...history, last: { ...history.last, unixSeconds: dayOf(history.last.unixSeconds) } },
  }));
  return JSON.stringify({ ...record, disks });
}

function dayOf(unixSeconds: number): number {
  return Math.floor(unixSeconds / secondsPerDay);
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
