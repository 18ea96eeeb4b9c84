import { type Geometry, sectorBytes } from '../block/block-device.ts';
import { OpenError } from '../io/open-error.ts';
import type { RemoteExport } from './client-handshake.ts';
import { NbdConnector, type NbdConnectorOptions } from './nbd-connector.ts';
import { NbdDevice } from './nbd-device.ts';

/** What disks have: larger blocks are no disk's, and no granule of ours. */
const blockBytesMax = 4096;

/** Connects to an export and makes it a disk. Rejects with `OpenError`. */
export async function openNbdDevice(options: NbdConnectorOptions): Promise<NbdDevice> {
  const connector = new NbdConnector(options);
  const client = await connector.connect();
  try {
    const geometry = geometryOf(options.address.uri, client.exported);
    if (client.exported.readOnly && !options.readOnly) {
      throw new OpenError('OPEN_READ_ONLY', options.address.uri, 'is a read-only export');
    }
    return new NbdDevice(connector, options.clock, client, geometry);
  } catch (error) {
    await client.close();
    throw error;
  }
}

function geometryOf(uri: string, exported: RemoteExport): Geometry {
  const { sizeBytes, minimumBlockBytes, preferredBlockBytes } = exported;
  const logicalBlockBytes = Math.max(sectorBytes, minimumBlockBytes);
  const isBlock = Number.isInteger(Math.log2(logicalBlockBytes)) && logicalBlockBytes <= blockBytesMax;
  if (!isBlock || exported.maximumPayloadBytes < logicalBlockBytes) {
    throw new OpenError(
      'OPEN_FAILED',
      uri,
      `takes requests of ${minimumBlockBytes} to ${exported.maximumPayloadBytes} bytes, expected blocks of at most ` +
        `${blockBytesMax}`,
    );
  }
  if (sizeBytes === 0) throw new OpenError('OPEN_EMPTY', uri, 'is empty (0 bytes); a size is needed');
  if (sizeBytes % logicalBlockBytes !== 0) {
    throw new OpenError(
      'OPEN_RAGGED',
      uri,
      `is ${sizeBytes} bytes, not a multiple of its block of ${logicalBlockBytes}`,
    );
  }
  const preferred = Number.isInteger(Math.log2(preferredBlockBytes)) ? preferredBlockBytes : blockBytesMax;
  const physicalBlockBytes = Math.max(logicalBlockBytes, Math.min(preferred, blockBytesMax));
  return { sizeBytes, logicalBlockBytes, physicalBlockBytes };
}
