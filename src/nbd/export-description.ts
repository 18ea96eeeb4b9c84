import type { BlockDevice } from '../block/block-device.ts';
import { payloadBytesMax, TransmissionFlag } from './constants.ts';

/** What the handshake tells about a device, and what requests are checked against. */
export interface ExportDescription {
  readonly name: string;
  readonly description: string;
  readonly sizeBytes: number;
  readonly transmissionFlags: number;
  readonly minimumBlockBytes: number;
  readonly preferredBlockBytes: number;
  readonly maximumPayloadBytes: number;
}

/** The preferred size is at least this: below a page every client is slow. */
const preferredBlockBytesMin = 4096;

/**
 * Describes a device. Several connections may be used wherever there is a flush: all connections share the device, and
 * its `flush` covers what settled on any of them (R22).
 */
export function describeExport(
  device: BlockDevice,
  options: {
    readonly name: string;
    readonly description: string;
    readonly maximumPayloadBytes: number;
    readonly readOnly: boolean;
  },
): ExportDescription {
  const { name, description, maximumPayloadBytes, readOnly } = options;
  const { geometry, capabilities } = device;
  let flags: number = TransmissionFlag.hasFlags;
  const write = capabilities.write && !readOnly;
  if (!write) flags |= TransmissionFlag.readOnly;
  if (capabilities.flush) flags |= TransmissionFlag.sendFlush | TransmissionFlag.canMultiConn;
  if (capabilities.fua) flags |= TransmissionFlag.sendFua;
  if (capabilities.rotational) flags |= TransmissionFlag.rotational;
  if (write && capabilities.discard) flags |= TransmissionFlag.sendTrim;
  if (write && capabilities.writeZeroes) flags |= TransmissionFlag.sendWriteZeroes;
  if (write && capabilities.writeZeroes && capabilities.fastZeroes) flags |= TransmissionFlag.sendFastZero;
  // Advisory: what is in range is answered.
  flags |= TransmissionFlag.sendCache;
  return {
    name,
    description,
    sizeBytes: geometry.sizeBytes,
    transmissionFlags: flags,
    minimumBlockBytes: geometry.logicalBlockBytes,
    preferredBlockBytes: Math.max(preferredBlockBytesMin, geometry.physicalBlockBytes),
    maximumPayloadBytes: Math.min(payloadBytesMax, maximumPayloadBytes),
  };
}

/** The same for a client with structured replies: it may ask for reads in one piece. */
export function withStructuredReplies(exported: ExportDescription): ExportDescription {
  return { ...exported, transmissionFlags: exported.transmissionFlags | TransmissionFlag.sendDf };
}
