import { chmodSync, rmSync } from 'node:fs';
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import type { Asker } from './application.ts';
import { failureText, serverFailures } from './failure-codes.ts';
import type { PeerGuard } from './peer-guard.ts';
import type { RequestListener } from './request-listener.ts';

/** Connections at one time; one more is closed at once. */
export const connectionsMax = 32;
/** Bytes of a request's head. */
export const headBytesMax = 8_192;

export interface ServerDeadlines {
  /** A client that takes longer to send its request, or to take its answer, is cut off. */
  readonly requestMs: number;
  /** No request takes longer: the longest of the data plane's own deadlines, and some. */
  readonly connectionMs: number;
}

const deadlinesDefault: ServerDeadlines = { requestMs: 10_000, connectionMs: 240_000 };

/**
 * Serves the API on a Unix socket that only its owner may open, to those whom `guard` admits; a socket left by a crashed worker
 * is replaced.
 */
export function listenOnSocket(
  socketPath: string,
  dataPlane: Asker,
  guard: PeerGuard,
  deadlines: ServerDeadlines = deadlinesDefault,
): Promise<Server> {
  const server = createControlServer(dataPlane, guard, deadlines);
  return new Promise((resolve, reject) => {
    rmSync(socketPath, { force: true });
    server.once('error', reject);
    server.listen(socketPath, () => {
      chmodSync(socketPath, 0o600);
      server.off('error', reject);
      resolve(server);
    });
  });
}

function createControlServer(dataPlane: Asker, guard: PeerGuard, deadlines: ServerDeadlines): Server {
  let listener: Promise<RequestListener> | undefined;
  /** Made for the first request: most devices start to serve, not to be asked, and their web's Request alone takes 3 MB. */
  const handle = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    listener ??= import('./request-listener.ts').then((made) => made.requestListener(dataPlane));
    await (await listener)(incoming, outgoing);
  };
  const denied = new WeakSet<Duplex>();
  const requests = new WeakMap<Duplex, IncomingMessage>();
  const server = createServer(
    {
      maxHeaderSize: headBytesMax,
      // Node would look at its connections every so often, and wake a machine that sleeps although there is none.
      connectionsCheckingInterval: neverMs,
      keepAlive: false,
    },
    (incoming, outgoing) => {
      const { socket } = incoming;
      requests.set(socket, incoming);
      if (denied.has(socket)) {
        socket.end(answerBytes(403, 'Forbidden', 'DENIED'));
        return;
      }
      // One request a connection: a client that stays connected would hold one of the few places.
      outgoing.setHeader('connection', 'close');
      // A client that does not read its answer would hold it as well.
      void handle(incoming, outgoing).then(() =>
        socket.setTimeout(deadlines.requestMs, () => socket.destroy()),
      );
    },
  );
  server.maxConnections = connectionsMax;
  server.setTimeout(deadlines.connectionMs);
  server.on('connection', (socket) => {
    afterDeadline(socket, deadlines.requestMs, () => {
      if (requests.get(socket)?.complete !== true) cutOff(socket);
    });
    if (guard.admits(socket)) return;
    denied.add(socket);
    // Long enough to send a request and to read why it is refused.
    socket.setTimeout(Math.min(1_000, deadlines.requestMs), () => socket.destroy());
  });
  server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
    if (socket.writable) socket.end(answerToBroken(error.code));
    else socket.destroy();
  });
  return server;
}

/** The greatest delay of a timer: 25 days. */
const neverMs = 2 ** 31 - 1;

/** Once, unless the connection has ended by then: not moved by bytes that trickle in. */
function afterDeadline(socket: Socket, deadlineMs: number, action: () => void): void {
  const timer = setTimeout(action, deadlineMs);
  socket.once('close', () => clearTimeout(timer));
}

/** Whose request is not whole in time. What it still sends, it sends to nobody. */
function cutOff(socket: Socket): void {
  if (socket.writable) socket.write(answerBytes(408, 'Request Timeout'));
  socket.destroySoon();
}

/** What is no HTTP, or too long. */
function answerToBroken(code: string | undefined): string {
  if (code === 'HPE_HEADER_OVERFLOW') return answerBytes(431, 'Request Header Fields Too Large');
  return answerBytes(400, 'Bad Request');
}

/** A whole answer, where no request was understood that it could be the answer of. */
function answerBytes(
  status: 400 | keyof typeof serverFailures,
  reason: string,
  code = 'BAD_REQUEST',
): string {
  const body = failureText(code, status === 400 ? 'the request is not HTTP/1.1' : serverFailures[status]);
  return (
    `HTTP/1.1 ${status} ${reason}\r\nConnection: close\r\nContent-Type: application/json\r\n` +
    `Content-Length: ${Buffer.byteLength(body)}\r\n\r\n${body}`
  );
}
