import { assert } from '../block/assert.ts';
import { type BlockDevice, sectorBytes } from '../block/block-device.ts';
import { MappedDevice, type MappedSegment } from './mapped-device.ts';
import type { TargetRegistry } from './registry.ts';
import { parseTable, type TableSegment } from './table-syntax.ts';
import type { OpenDevice } from './target.ts';

export interface MappedDeviceOptions {
  readonly name: string;
  /** Table lines, see `parseTable`. */
  readonly table: string;
  readonly registry: TargetRegistry;
  readonly openDevice: OpenDevice;
}

/**
 * Makes the device that a table describes, ready for requests. Every path is opened once, however many segments name
 * it. Rejects with `TargetError`, or with whatever `openDevice` rejects with; then everything opened is closed again.
 */
export async function createMappedDevice(options: MappedDeviceOptions): Promise<MappedDevice> {
  const lines = parseTable(options.table, options.registry);
  const opened = new OpenedDevices(options.openDevice);
  const segments: MappedSegment[] = [];
  try {
    for (const line of lines) segments.push(await makeSegment(line, options, opened));
    const device = new MappedDevice(options.name, segments, opened.list);
    for (const { target } of segments) await target.resume?.();
    return device;
  } catch (error) {
    for (const { target } of segments) await target.dtr?.();
    await Promise.all(opened.list.map((device) => device.close()));
    throw error;
  }
}

async function makeSegment(
  line: TableSegment,
  options: MappedDeviceOptions,
  opened: OpenedDevices,
): Promise<MappedSegment> {
  const type = options.registry.find(line.target);
  assert(type !== undefined, 'the table was parsed with this registry');
  const context = {
    deviceName: options.name,
    startBytes: line.startSector * sectorBytes,
    lengthBytes: line.sectorCount * sectorBytes,
    openDevice: (path: string, purpose: string) => opened.open(path, purpose),
  };
  return { line, target: await type.ctr(context, line.words) };
}

/** One device a path, as dm_get_device counts references in a table. */
class OpenedDevices {
  readonly list: BlockDevice[] = [];
  readonly #open: OpenDevice;
  readonly #byPath = new Map<string, BlockDevice>();

  constructor(open: OpenDevice) {
    this.#open = open;
  }

  async open(path: string, purpose: string): Promise<BlockDevice> {
    const known = this.#byPath.get(path);
    if (known !== undefined) return known;
    const device = await this.#open(path, purpose);
    this.#byPath.set(path, device);
    this.list.push(device);
    return device;
  }
}
