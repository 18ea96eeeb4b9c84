import { crc32c } from '@node-rs/crc32';
import type { DeviceFacts } from '../../metadata/metadata-store.ts';

/** The last that a host knows of a device (M12). */
export interface KnownSession {
  readonly uuid: string;
  /** Durable on the spare then; a spare that knows less is older. */
  readonly sequence: number;
  /** 16 hexadecimal digits. */
  readonly sessionNonce: string;
  readonly generation: number;
  /** Revision of the superblocks after a clean end; 0 while it is served, or was killed. */
  readonly closedRevision: number;
  readonly writtenUnixSeconds: number;
}

/** Two lines: JSON, and the CRC-32C of it. */
export function encodeKnownSession(session: KnownSession): string {
  const { uuid, sequence, sessionNonce, generation, closedRevision, writtenUnixSeconds } = session;
  const fields = { format: 1, uuid, sequence, sessionNonce, generation, closedRevision, writtenUnixSeconds };
  const line = JSON.stringify(fields);
  return `${line}\n${crc32c(line)}\n`;
}

/** Undefined for anything but what `encodeKnownSession` made. */
export function decodeKnownSession(text: string): KnownSession | undefined {
  const [line, checksum, end, ...rest] = text.split('\n');
  if (line === undefined || end !== '' || rest.length > 0 || String(crc32c(line)) !== checksum)
    return undefined;
  // The checksum is right, and yet a later program may have written it, or somebody's hand: it is advice, and must not keep a
  // device from being served.
  const value = parsed(line);
  if (value['format'] !== 1) return undefined;
  const { uuid, sequence, sessionNonce, generation, closedRevision, writtenUnixSeconds } = value;
  if (typeof uuid !== 'string' || typeof sessionNonce !== 'string') return undefined;
  if (!isCount(sequence) || !isCount(generation) || !isCount(closedRevision)) return undefined;
  if (!isCount(writtenUnixSeconds)) return undefined;
  return { uuid, sequence, sessionNonce, generation, closedRevision, writtenUnixSeconds };
}

/** Empty for anything but an object. */
function parsed(line: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(line);
    return typeof value === 'object' && value !== null ? { ...value } : {};
  } catch {
    return {};
  }
}

function isCount(value: unknown): value is number {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

/**
 * M12: why the spare is older than what this host knows of it, one clause; undefined when it is not. Three signs, each of
 * which nothing but an older copy shows: fewer acknowledged records; an older session, even when no record came since,
 * because slots are written over without records; superblocks older than those of the clean end.
 */
export function rollbackOf(
  known: KnownSession,
  found: Pick<DeviceFacts, 'lastSequence' | 'sessionNonce' | 'generation' | 'revision'>,
): string | undefined {
  const sequences = `this host knows sequence ${known.sequence}, the spare has ${found.lastSequence}`;
  if (found.lastSequence < known.sequence) return sequences;
  if (found.sessionNonce !== known.sessionNonce) {
    const older = found.generation < known.generation;
    return older
      ? `${sequences}, and its session is an older one (generation ${found.generation}, known ${known.generation})`
      : undefined;
  }
  if (found.revision >= known.closedRevision) return undefined;
  return `${sequences}, and it was taken before the device was closed (revision ${found.revision}, known ${known.closedRevision})`;
}
