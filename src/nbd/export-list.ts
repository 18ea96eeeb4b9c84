import { assert } from '../block/assert.ts';
import type { BlockDevice } from '../block/block-device.ts';
import { stringBytesMax } from './constants.ts';
import { describeExport, type ExportDescription } from './export-description.ts';
import { UnfinishedWrites } from './unfinished-writes.ts';

/** One device that a server serves under a name. */
export interface NbdExport {
  /** At most 4096 bytes of UTF-8, and not empty: "" always names the first export. */
  readonly name: string;
  /** For people, in lists. */
  readonly description?: string;
  readonly device: BlockDevice;
  /** The same device in sectors of 512 bytes, for clients that never asked for block sizes (R11). */
  readonly unalignedDevice?: BlockDevice;
  /** Clients may not write, whatever the device can. */
  readonly readOnly?: boolean;
}

/** A device as clients see it. */
export interface ExportView {
  readonly device: BlockDevice;
  readonly exported: ExportDescription;
}

/** An export with what all its connections share. */
export interface ServedExport {
  readonly name: string;
  readonly nameBytes: Uint8Array;
  readonly descriptionBytes: Uint8Array;
  /** For clients that keep to the block sizes. */
  readonly aligned: ExportView;
  /** For those that never asked for them (R11). */
  readonly unaligned: ExportView;
  readonly unfinishedWrites: UnfinishedWrites;
}

/** What a server serves, by name. */
export class ExportList {
  /** The first is the default. */
  readonly all: readonly ServedExport[];

  constructor(exports: readonly NbdExport[], maximumPayloadBytes: number) {
    assert(exports.length > 0, 'ExportList: no export');
    this.all = exports.map((each) => servedExport(each, maximumPayloadBytes));
    const names = new Set(this.all.map(({ name }) => name));
    assert(names.size === exports.length, 'ExportList: two exports of one name');
  }

  /** The export of that name, the default one for ""; undefined when there is none. */
  find(name: Uint8Array): ServedExport | undefined {
    if (name.length === 0) return this.all[0];
    return this.all.find(({ nameBytes }) => {
      return nameBytes.length === name.length && nameBytes.every((byte, at) => byte === name[at]);
    });
  }

  /** For a client that asked for another. */
  whatThereIs(): string {
    const names = this.all.map(({ name }) => `"${name}"`).join(' and ');
    return `this server has the export${this.all.length > 1 ? 's' : ''} ${names}`;
  }
}

function servedExport(options: NbdExport, maximumPayloadBytes: number): ServedExport {
  const { name, description = '', device, unalignedDevice, readOnly = false } = options;
  const view = (each: BlockDevice): ExportView => ({
    device: each,
    exported: describeExport(each, { name, description, maximumPayloadBytes, readOnly }),
  });
  const [nameBytes, descriptionBytes] = [utf8(name), utf8(description)];
  assert(nameBytes.length > 0, 'ExportList: an export has a name');
  assert(nameBytes.length <= stringBytesMax, 'ExportList: the name of an export is too long');
  assert(descriptionBytes.length <= stringBytesMax, 'ExportList: the description of an export is too long');
  const aligned = view(device);
  const unaligned = unalignedDevice === undefined ? aligned : view(unalignedDevice);
  const unfinishedWrites = new UnfinishedWrites();
  return { name, nameBytes, descriptionBytes, aligned, unaligned, unfinishedWrites };
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text);
}
