import { setTimeout as sleep } from 'node:timers/promises';
import type { BufferArena } from '../block/buffer-arena.ts';
import { Errno } from '../block/errno.ts';
import { describeAddress, unixAddress, unixPathBytesMax } from '../linux/socket-address.ts';
import { type ByteStream, StreamError, type StreamListener } from './byte-stream.ts';
import { hostAddresses } from './host-address.ts';
import { listenAtPath, listenAtPort } from './listening-socket.ts';
import { NodeListener } from './node-listener.ts';
import { NodeStream } from './node-stream.ts';
import { RingListener } from './ring-listener.ts';
import { connectRing } from './ring-stream.ts';
import type { UringEngine } from './uring-engine.ts';

/** Connections of one process, by the engine that it has. */
export interface StreamSockets {
  /** Listens on a Unix socket that only its owner may use. Throws `ListenError`. */
  listenUnix(path: string): StreamListener;
  /** Listens on an IP address, or `localhost`; port 0 lets the kernel choose. Throws `ListenError`. */
  listenTcp(host: string, port: number): StreamListener;
  /** Rejects with `StreamError` when nobody listens there. */
  connectUnix(path: string): Promise<ByteStream>;
  /** `host` is an IP address or a name. Rejects with `StreamError` when nobody listens there. */
  connectTcp(host: string, port: number): Promise<ByteStream>;
}

export function ringSockets(engine: UringEngine): StreamSockets {
  return {
    listenUnix: (path) => new RingListener(engine, listenAtPath(path)),
    listenTcp: (host, port) => new RingListener(engine, listenAtPort(host, port)),
    connectUnix: async (path) => {
      refuseLongPath(path);
      return await connectRing(engine, unixAddress(path), path);
    },
    connectTcp: async (host, port) => {
      const addresses = await hostAddresses(host, port);
      return await firstThatAnswers(addresses, ({ bytes }) =>
        connectRing(engine, bytes, describeAddress(bytes)),
      );
    },
  };
}

export function nodeSockets(arena: BufferArena): StreamSockets {
  return {
    listenUnix: (path) => new NodeListener(arena, listenAtPath(path)),
    listenTcp: (host, port) => new NodeListener(arena, listenAtPort(host, port)),
    connectUnix: async (path) => {
      refuseLongPath(path);
      return await connectWhenAccepted(arena, path);
    },
    connectTcp: async (host, port) => {
      const addresses = await hostAddresses(host, port);
      return await firstThatAnswers(addresses, ({ ip, bytes }) =>
        NodeStream.connected(arena, { host: ip, port, noDelay: true }, describeAddress(bytes)),
      );
    },
  };
}

function refuseLongPath(path: string): void {
  if (path !== '' && Buffer.byteLength(path) <= unixPathBytesMax) return;
  throw new StreamError('STREAM_FAILED', `${path}: a socket's path has 1 to ${unixPathBytesMax} bytes`);
}

/** The error of the last one, if it is none. */
async function firstThatAnswers<Address>(
  addresses: readonly Address[],
  connectTo: (address: Address) => Promise<ByteStream>,
): Promise<ByteStream> {
  let failure = new StreamError('STREAM_FAILED', 'no address to connect to');
  for (const address of addresses) {
    try {
      return await connectTo(address);
    } catch (error) {
      if (!(error instanceof StreamError)) throw error;
      failure = error;
    }
  }
  throw failure;
}

/** A Unix socket with a full backlog answers a caller that does not block with EAGAIN, and does not say when there is room. */
const backlogRetryMs = 20;
const backlogRetriesMax = 250;

async function connectWhenAccepted(arena: BufferArena, path: string): Promise<ByteStream> {
  for (let retries = 0; ; retries += 1) {
    try {
      return await NodeStream.connected(arena, { path }, path);
    } catch (error) {
      const again = error instanceof StreamError && error.errno === Errno.EAGAIN;
      if (!again || retries === backlogRetriesMax) throw error;
      await sleep(backlogRetryMs);
    }
  }
}
