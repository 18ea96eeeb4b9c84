import type { Clock } from '../block/clock.ts';
import { type ByteStream, StreamError } from '../io/byte-stream.ts';
import { NbdProtocolError } from './codec.ts';
import type { ExportList } from './export-list.ts';
import { type HandshakeRefusal, handshakeBufferBytes, serveHandshake } from './handshake.ts';
import { StreamReader } from './stream-reader.ts';

/**
 * Tells a client why it is not served, in answer to whatever option it sends: the protocol has no earlier place for it. Resolves
 * when the client has left, or been cut off after `timeoutMs`.
 */
export async function refuseConnection(
  stream: ByteStream,
  exports: ExportList,
  refusal: HandshakeRefusal,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<void> {
  const timer = clock.schedule(timeoutMs, () => void stream.close());
  try {
    await serveHandshake(stream, new StreamReader(stream, handshakeBufferBytes), exports, () => refusal);
  } catch (error) {
    // It is not served whatever it did wrong.
    if (!(error instanceof StreamError || error instanceof NbdProtocolError)) throw error;
  } finally {
    timer.cancel();
    await stream.close();
  }
}
