import type { DeviceProperties } from './device-properties.ts';
import { decodeMemberTable, encodeMemberTable, type MemberTable } from './member-table.ts';
import { MetadataError } from './metadata-error.ts';
import { decodePairs, encodePairs } from './pair-codec.ts';

/**
 * The superblock's room for what varies and for what comes (M10): type u16, length u16, value, zeroes to a multiple of 4;
 * type 0 ends. A type this program does not know is compatible by definition (what is not has a feature bit) and is kept.
 */
const TlvType = {
  end: 0,
  name: 1,
  mainIdentity: 2,
  spareIdentity: 3,
  policies: 4,
  scrub: 5,
  members: 6,
} as const;
const lastKnownType = 6;
const tlvHeaderBytes = 4;

export interface UnknownTlv {
  readonly type: number;
  readonly value: Uint8Array;
}

export interface PropertyArea {
  readonly properties: DeviceProperties;
  /** The spares beside the home; undefined on a device that has no other one. */
  readonly members?: MemberTable;
  /** In the order found. */
  readonly unknown: readonly UnknownTlv[];
}

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** The bytes of the property area; throws `METADATA_PROPERTIES_TOO_LARGE` above `bytesMax`. */
export function encodeProperties(area: PropertyArea, bytesMax: number): Uint8Array {
  const { name, mainIdentity, spareIdentity, policies, scrub } = area.properties;
  const parts: UnknownTlv[] = [
    { type: TlvType.name, value: encoder.encode(name) },
    { type: TlvType.mainIdentity, value: encodePairs(mainIdentity) },
    { type: TlvType.spareIdentity, value: encodePairs(spareIdentity) },
    { type: TlvType.policies, value: encodePairs(policies) },
    // What is not there takes no room, and older spares stay as they are.
    ...(scrub === undefined ? [] : [{ type: TlvType.scrub, value: encodePairs(scrub) }]),
    ...(area.members === undefined
      ? []
      : [{ type: TlvType.members, value: encodeMemberTable(area.members) }]),
    ...area.unknown,
  ];
  let bytes = 0;
  for (const part of parts) bytes += tlvHeaderBytes + padded(part.value.byteLength);
  if (bytes > bytesMax || parts.some((part) => part.value.byteLength > 0xffff)) {
    throw new MetadataError(
      'METADATA_PROPERTIES_TOO_LARGE',
      `name, identities and policies take ${bytes} bytes, the superblock has room for ${bytesMax}: shorten them`,
    );
  }
  return concatenate(parts, bytes);
}

/** What the area says, or one clause about what is wrong with it. Absent parts are empty. */
export function decodeProperties(area: Uint8Array): PropertyArea | string {
  const view = new DataView(area.buffer, area.byteOffset, area.byteLength);
  const known = new Map<number, Uint8Array>();
  const unknown: UnknownTlv[] = [];
  let at = 0;
  while (at + tlvHeaderBytes <= area.byteLength) {
    const type = view.getUint16(at, true);
    const length = view.getUint16(at + 2, true);
    if (type === TlvType.end) break;
    at += tlvHeaderBytes;
    if (at + length > area.byteLength) return `a property of type ${type} longer than its area`;
    const value = area.slice(at, at + length);
    if (type <= lastKnownType) known.set(type, value);
    else unknown.push({ type, value });
    at += padded(length);
  }
  const mainIdentity = decodePairs(known.get(TlvType.mainIdentity));
  const spareIdentity = decodePairs(known.get(TlvType.spareIdentity));
  const policies = decodePairs(known.get(TlvType.policies));
  const scrub = decodePairs(known.get(TlvType.scrub));
  if (
    mainIdentity === undefined ||
    spareIdentity === undefined ||
    policies === undefined ||
    scrub === undefined
  ) {
    return 'a list of properties longer than its area';
  }
  const name = decoder.decode(known.get(TlvType.name) ?? new Uint8Array(0));
  const scrubbed = known.has(TlvType.scrub) ? { scrub } : {};
  const properties = { name, mainIdentity, spareIdentity, policies, ...scrubbed };
  const list = known.get(TlvType.members);
  if (list === undefined) return { properties, unknown };
  const members = decodeMemberTable(list);
  return typeof members === 'string' ? members : { properties, members, unknown };
}

function concatenate(parts: readonly UnknownTlv[], bytes: number): Uint8Array {
  const area = new Uint8Array(bytes);
  const view = new DataView(area.buffer);
  let at = 0;
  for (const { type, value } of parts) {
    view.setUint16(at, type, true);
    view.setUint16(at + 2, value.byteLength, true);
    area.set(value, at + tlvHeaderBytes);
    at += tlvHeaderBytes + padded(value.byteLength);
  }
  return area;
}

function padded(length: number): number {
  return Math.ceil(length / 4) * 4;
}
