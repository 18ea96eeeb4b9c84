import type { BlockDevice, Capabilities, Extent } from '../block/block-device.ts';

/** `info` is what `dmsetup status` prints, `table` what `dmsetup table` prints: the arguments that make it again. */
export type StatusKind = 'info' | 'table';

/** Opens a device named in a table. `purpose` says what for: `data`, `main`, `spare`. One path is opened once a table. */
export type OpenDevice = (path: string, purpose: string) => Promise<BlockDevice>;

/** What a target is told when it is made: its place in the mapped device, and how to get at devices. */
export interface TargetContext {
  /** Name of the mapped device, for errors. */
  readonly deviceName: string;
  /** Bytes. The segment's place in the mapped device. */
  readonly startBytes: number;
  readonly lengthBytes: number;
  readonly openDevice: OpenDevice;
}

/**
 * One segment of a mapped device (struct target_type, linux/include/linux/device-mapper.h). Offsets are bytes from the
 * segment's start, also those in the ranges of a `DeviceError`. Requests come checked: inside the segment and multiples
 * of the mapped device's logical block. The loan rule of `BlockDevice` holds.
 */
export interface Target {
  /** Bytes; powers of two. 512 for a target that does not care. */
  readonly logicalBlockBytes: number;
  readonly physicalBlockBytes: number;
  readonly capabilities: Capabilities;
  /** The devices that it got from `openDevice`. The mapped device closes them. */
  readonly devices: readonly BlockDevice[];
  /**
   * True: flushing each of `devices` is all that a flush of this target means, so several segments on one device cost
   * one flush. False: `flush` is called.
   */
  readonly flushBypassesMap: boolean;
  read(target: Uint8Array, offset: number, flags?: number): Promise<void>;
  write(source: Uint8Array, offset: number, flags?: number): Promise<void>;
  flush(): Promise<void>;
  discard(offset: number, length: number, flags?: number): Promise<void>;
  writeZeroes(offset: number, length: number, flags?: number): Promise<void>;
  extents(offset: number, length: number): Promise<readonly Extent[]>;
  /** Gives the reply, '' for none. Rejects with `TargetError`. */
  message(words: readonly string[]): Promise<string>;
  status(kind: StatusKind): string;
  /** Called once before the first request. */
  resume?(): Promise<void>;
  /** The device is about to wait for what is in flight: what is held back on purpose goes on at once. */
  presuspend?(): void;
  /** The end: no new request comes. Resolves when none is in flight; does not close `devices`. */
  dtr?(): Promise<void>;
}

/** How targets of one name are made. */
export interface TargetType {
  /** The third word of a table line. */
  readonly name: string;
  /** For messages: `DEVICE OFFSET`. */
  readonly usage: string;
  readonly argumentCountMin: number;
  readonly argumentCountMax: number;
  /** Makes a target from the words behind its name, their count already checked. Rejects with `TargetError`. */
  ctr(context: TargetContext, words: readonly string[]): Promise<Target>;
}
