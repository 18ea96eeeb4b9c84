import { MetadataError } from './metadata-error.ts';

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/** Pairs, each: key bytes u16, value bytes u16, key, value (UTF-8). */
export function encodePairs(pairs: Readonly<Record<string, string>>): Uint8Array {
  const chunks: Uint8Array[] = [];
  for (const [key, value] of Object.entries(pairs)) {
    const keyBytes = encoder.encode(key);
    const valueBytes = encoder.encode(value);
    const head = new Uint8Array(4);
    const view = new DataView(head.buffer);
    if (keyBytes.byteLength > 0xffff || valueBytes.byteLength > 0xffff) {
      throw new MetadataError(
        'METADATA_PROPERTIES_TOO_LARGE',
        `the property ${key.slice(0, 40)} is longer than 65535 bytes: shorten it`,
      );
    }
    view.setUint16(0, keyBytes.byteLength, true);
    view.setUint16(2, valueBytes.byteLength, true);
    chunks.push(head, keyBytes, valueBytes);
  }
  const total = chunks.reduce((sum, chunk) => sum + chunk.byteLength, 0);
  const bytes = new Uint8Array(total);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.byteLength;
  }
  return bytes;
}

/** Undefined when they leave their bytes. Absent ones are none. */
export function decodePairs(bytes: Uint8Array | undefined): Record<string, string> | undefined {
  const pairs: [string, string][] = [];
  if (bytes === undefined) return {};
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at < bytes.byteLength) {
    if (at + 4 > bytes.byteLength) return undefined;
    const keyEnd = at + 4 + view.getUint16(at, true);
    const valueEnd = keyEnd + view.getUint16(at + 2, true);
    if (valueEnd > bytes.byteLength) return undefined;
    pairs.push([
      decoder.decode(bytes.subarray(at + 4, keyEnd)),
      decoder.decode(bytes.subarray(keyEnd, valueEnd)),
    ]);
    at = valueEnd;
  }
  // `fromEntries` defines own properties, so that no key from the disk reaches a prototype.
  return Object.fromEntries(pairs);
}
