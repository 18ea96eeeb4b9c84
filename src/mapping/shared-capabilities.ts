import type { Capabilities } from '../block/block-device.ts';

/** What all of several parts can; rotational, or with a volatile cache, when any is. */
export function sharedCapabilities(parts: readonly Capabilities[]): Capabilities {
  return {
    write: parts.every((part) => part.write),
    flush: parts.every((part) => part.flush),
    fua: parts.every((part) => part.fua),
    discard: parts.every((part) => part.discard),
    writeZeroes: parts.every((part) => part.writeZeroes),
    fastZeroes: parts.every((part) => part.fastZeroes),
    rotational: parts.some((part) => part.rotational),
    volatileCache: parts.some((part) => part.volatileCache ?? true),
  };
}
