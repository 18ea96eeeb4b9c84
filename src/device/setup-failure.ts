import { AssertionFailure } from '../block/assert.ts';
import { DeviceError } from '../block/device-error.ts';
import { EngineRefusal } from '../io/engine-refusal.ts';
import { ListenError } from '../io/listening-socket.ts';
import { OpenError, type OpenErrorCode } from '../io/open-error.ts';
import { TargetError } from '../mapping/target-error.ts';
import { MetadataError, type MetadataErrorCode } from '../metadata/metadata-error.ts';
import { RemapOpenError } from '../remap/open-remap.ts';
import { SetupError, type SetupReason } from './setup-error.ts';

/** Errors of the world may be told as the outcome of a step; a bug of ours may not. */
export function isWorldError(error: unknown): boolean {
  return (
    error instanceof Error &&
    !(error instanceof AssertionFailure || error instanceof TypeError || error instanceof RangeError)
  );
}

const reasonOfOpenError: Readonly<Partial<Record<OpenErrorCode, SetupReason>>> = {
  OPEN_NOT_FOUND: 'not-found',
  OPEN_IN_USE: 'busy',
  OPEN_DIRECTORY: 'refused',
  OPEN_NOT_A_DISK: 'refused',
  OPEN_EMPTY: 'refused',
  OPEN_RAGGED: 'refused',
  OPEN_NO_DIRECT: 'refused',
  OPEN_READ_ONLY: 'refused',
  OPEN_TOO_LARGE: 'refused',
  OPEN_EXISTS: 'refused',
  OPEN_OTHER_DISK: 'refused',
  OPEN_FILE_CUT: 'refused',
  OPEN_UNSUITABLE: 'refused',
  OPEN_WRITEBACK_ON_DISK: 'usage',
};

const reasonOfMetadataError: Readonly<Partial<Record<MetadataErrorCode, SetupReason>>> = {
  METADATA_IN_USE: 'busy',
  METADATA_SPARE_TOO_SMALL: 'refused',
  METADATA_UNSUITABLE_SPARE: 'refused',
  METADATA_PROPERTIES_TOO_LARGE: 'usage',
  METADATA_NOT_A_SPARE: 'not-a-spare',
  METADATA_MEMBER: 'refused',
  METADATA_NEWER_FORMAT: 'not-a-spare',
  METADATA_UNKNOWN_FEATURE: 'not-a-spare',
  METADATA_SPARE_SHRUNK: 'not-a-spare',
  METADATA_MIXED: 'not-a-spare',
  METADATA_NO_REPLICA: 'not-a-spare',
  METADATA_GAP: 'not-a-spare',
  METADATA_CORRUPT: 'not-a-spare',
};

/**
 * An error of opening as a `SetupError` that names what it is about. `sparePath` is put before what the metadata says
 * where it does not name the disk itself. A bug is given back as it is.
 */
export function setupErrorOf(error: unknown, sparePath: string): unknown {
  if (error instanceof SetupError) return error;
  const as = (reason: SetupReason, message: string): SetupError =>
    new SetupError(reason, message, { cause: error });
  if (error instanceof OpenError) return as(reasonOfOpenError[error.code] ?? 'failed', error.message);
  if (error instanceof MetadataError) {
    const reason = reasonOfMetadataError[error.code] ?? 'failed';
    const isNamed = error.message.startsWith('/') || error.message.startsWith(sparePath);
    const named = isNamed ? error.message : `${sparePath}: ${error.message}`;
    return as(reason, named);
  }
  if (error instanceof ListenError)
    return as(error.code === 'LISTEN_IN_USE' ? 'busy' : 'failed', error.message);
  if (error instanceof RemapOpenError) return as('refused', error.message);
  if (error instanceof TargetError) return as('usage', error.message);
  if (error instanceof EngineRefusal && error.code === 'ENGINE_UNKNOWN') return as('usage', error.message);
  if (error instanceof EngineRefusal || error instanceof DeviceError) return as('failed', error.message);
  return error;
}
