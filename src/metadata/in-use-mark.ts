import {
  areCounters,
  formatVersion,
  isSealed,
  magic,
  readU64,
  sameBytes,
  sealBlock,
  uuidAt,
  uuidBytes,
  versionAt,
  viewOf,
  writeU64,
} from './block-checksum.ts';
import { blockBytes } from './block-size.ts';
import type { SpareLayout } from './layout.ts';
import { bytesOfHex, hexText } from './uuid.ts';

/** A running process of one boot of one machine. */
export interface MarkedProcess {
  /** 32 hexadecimal digits, as in /etc/machine-id; empty when the machine has none. */
  readonly machineId: string;
  /** As machine-id, from /proc/sys/kernel/random/boot_id without its dashes. */
  readonly bootId: string;
  readonly pid: number;
  /** Clock ticks since boot: a process id alone is given out again. */
  readonly startTicks: number;
  /** Name of the host, for people. */
  readonly hostName: string;
}

/** M11: who uses the spare, or used it last. */
export interface InUseMark extends MarkedProcess {
  /** Of the session: 16 hexadecimal digits. */
  readonly nonce: string;
  /** Grows with every beat. */
  readonly heartbeat: number;
  readonly writtenUnixSeconds: number;
  /** The user writes a beat this often. */
  readonly intervalMs: number;
  /** The session has ended with close. */
  readonly released: boolean;
}

/**
 * A block of its own (docs/on-disk-format.md, "In-use mark"):
 *
 *      0 magic  8 CRC u32  12 version u16  14 host name's offset u16  16 device UUID  32 session nonce u64
 *     40 heartbeat u64     48 written u64  56 interval ms u32         60 flags u32    64 machine-id, 16 bytes
 *     80 boot-id, 16 bytes 96 pid u32     100 host name's bytes u32  104 start ticks u64     112 host name
 */
const markMagic = magic('dmRMinus');
const hostNameAt = 112;
export const hostNameBytesMax = 64;
const releasedFlag = 1;
/** Behind the superblocks of the last replica, in the aligned MiB that nobody else uses: far apart, for a bad place. */
const markDistances = [64 * 1024, 576 * 1024] as const;

/** Byte offsets of both copies. */
export function markPlaces(layout: SpareLayout): readonly number[] {
  const last = layout.replicas[layout.replicas.length - 1]!.superblockOffset;
  return markDistances.map((distance) => last + distance);
}

/** Fills `block` completely and seals it. */
export function encodeMark(block: Uint8Array, uuid: Uint8Array, mark: InUseMark): void {
  const view = viewOf(block);
  const hostName = hostNameOf(mark.hostName);
  block.fill(0);
  block.set(markMagic);
  view.setUint16(versionAt, formatVersion, true);
  view.setUint16(14, hostNameAt, true);
  block.set(uuid, uuidAt);
  block.set(bytesOfHex(mark.nonce, 8), 32);
  writeU64(view, 40, mark.heartbeat);
  writeU64(view, 48, mark.writtenUnixSeconds);
  view.setUint32(56, mark.intervalMs, true);
  view.setUint32(60, mark.released ? releasedFlag : 0, true);
  block.set(bytesOfHex(mark.machineId, 16), 64);
  block.set(bytesOfHex(mark.bootId, 16), 80);
  view.setUint32(96, mark.pid, true);
  view.setUint32(100, hostName.byteLength, true);
  writeU64(view, 104, mark.startTicks);
  block.set(hostName, hostNameAt);
  sealBlock(block);
}

/** UUID of the device whose mark a block is, if it is one. */
export function markDevice(block: Uint8Array): Uint8Array {
  return block.subarray(uuidAt, uuidAt + uuidBytes);
}

/** Undefined for a block that is no mark of this device. */
export function decodeMark(block: Uint8Array, uuid: Uint8Array): InUseMark | undefined {
  const view = viewOf(block);
  const ours =
    isSealed(block, markMagic) &&
    view.getUint16(versionAt, true) === formatVersion &&
    sameBytes(markDevice(block), uuid);
  const hostNameBytes = view.getUint32(100, true);
  const [heartbeat, writtenUnixSeconds] = [readU64(view, 40), readU64(view, 48)];
  if (!ours || hostNameBytes > blockBytes - hostNameAt) return undefined;
  if (!areCounters(heartbeat, writtenUnixSeconds)) return undefined;
  return {
    nonce: hexText(block.subarray(32, 40)),
    heartbeat,
    writtenUnixSeconds,
    intervalMs: view.getUint32(56, true),
    released: (view.getUint32(60, true) & releasedFlag) !== 0,
    machineId: idText(block.subarray(64, 80)),
    bootId: idText(block.subarray(80, 96)),
    pid: view.getUint32(96, true),
    startTicks: readU64(view, 104),
    hostName: new TextDecoder().decode(block.subarray(hostNameAt, hostNameAt + hostNameBytes)),
  };
}

/** An id of zeroes is none. */
function idText(bytes: Uint8Array): string {
  return bytes.every((byte) => byte === 0) ? '' : hexText(bytes);
}

/** As many whole characters as there is room for. */
function hostNameOf(text: string): Uint8Array {
  const room = new Uint8Array(hostNameBytesMax);
  return room.subarray(0, new TextEncoder().encodeInto(text, room).written);
}
