import type { BlockDevice } from '../../block/block-device.ts';
import type { DataPlane } from '../../io/data-plane.ts';
import type { DiskIdentity } from '../../io/identity-verdict.ts';
import { OpenError } from '../../io/open-error.ts';
import type { NbdDevice } from '../../nbd/nbd-device.ts';
import { type NbdAddress, parseNbdUri } from '../../nbd/nbd-uri.ts';
import { openNbdDevice } from '../../nbd/open-nbd-device.ts';
import { SetupError } from '../setup-error.ts';

/** Throws `SetupError` usage for a URI that cannot be served. */
export function nbdAddress(uri: string): NbdAddress {
  const address = parseNbdUri(uri);
  if (typeof address === 'string') throw new SetupError('usage', address);
  return address;
}

/** Connects to an export. Throws `OpenError`, or `SetupError` for what is no URI of ours. */
export function openNbd(plane: DataPlane, uri: string, readOnly: boolean): Promise<NbdDevice> {
  const address = nbdAddress(uri);
  const { place } = address;
  const stream = () =>
    place.transport === 'unix' ? plane.connectUnix(place.path) : plane.connectTcp(place.host, place.port);
  return openNbdDevice({ address, clock: plane.clock, stream, readOnly });
}

/** All that is known of an export: its URI, and its shape when it is open. Nobody can prove that it is the same (M15). */
export function nbdIdentity(uri: string, device?: NbdDevice): DiskIdentity {
  return {
    kind: 'nbd',
    path: uri,
    strength: 'weak',
    key: `nbd ${uri}`,
    wholeDiskKeys: [],
    sizeBytes: device?.geometry.sizeBytes ?? 0,
    logicalBlockBytes: device?.geometry.logicalBlockBytes ?? 0,
    physicalBlockBytes: device?.geometry.physicalBlockBytes ?? 0,
    wwn: '',
    serial: '',
    model: '',
    vendor: '',
    partitionUuid: '',
    partitionStartBytes: 0,
    rotational: device?.capabilities.rotational ?? false,
    writeCache: 'unknown',
  };
}

/** R33: what is acknowledged must be durable on the spare, and without a flush nobody can say so. Throws `OpenError`. */
export function refuseWithoutFlush(spare: { readonly path: string; readonly device: BlockDevice }): void {
  if (spare.device.capabilities.flush) return;
  throw new OpenError(
    'OPEN_UNSUITABLE',
    spare.path,
    'its NBD server offers no flush: nothing on it could be promised, so it cannot be a spare',
  );
}
