import { chmodSync, rmSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { ControlAnswers, ControlAsk, ControlFailureCode } from '../device/messages.ts';
import { AskError } from './data-plane-client.ts';
import { messageBody, removeBody, suspendBody } from './schema.ts';

/** Bytes of a request's body. */
export const bodyBytesMax = 65_536;
/** Connections at one time; the kernel queues a few more, then refuses. */
export const connectionsMax = 32;
/** Bytes of a request's head. */
const headBytesMax = 8_192;
/** A client that takes longer to send its request is cut off. */
const requestDeadlineMs = 10_000;

/** What the API needs of the data plane. */
export interface Asker {
  ask(ask: ControlAsk): Promise<ControlAnswers[ControlAsk['type']]>;
}

type FailureStatus = 400 | 404 | 405 | 409 | 413 | 422 | 500 | 503 | 504;

const statusOfFailure: Readonly<Record<ControlFailureCode, FailureStatus>> = {
  BAD_REQUEST: 400,
  BAD_MESSAGE: 422,
  FAILED: 500,
  UNSAFE: 409,
  WRONG_STATE: 409,
  IN_USE: 409,
  BUSY: 503,
  TIMED_OUT: 504,
};

function failure(context: Context, status: FailureStatus, code: string, message: string): Response {
  return context.json({ error: { code, message } }, status);
}

/**
 *     GET  /ping      name, state, pid
 *     GET  /status    DeviceStatus
 *     GET  /table     DeviceTable
 *     POST /message   { sector, words } -> { reply }
 *     POST /suspend   { flush } -> { state }, when nothing of a client is under way any more
 *     POST /resume    { state }, when both disks are known to be the same
 *     POST /remove    { force }, or nothing -> RemoveReport, when the disks are closed; the process ends right after
 *
 * Everything else is 404; a failure is `{ error: { code, message } }`.
 */
export function controlApplication(dataPlane: Asker): Hono {
  const application = new Hono();
  const answer = async (context: Context, ask: ControlAsk): Promise<Response> =>
    context.json(await dataPlane.ask(ask));

  const limit = bodyLimit({
    maxSize: bodyBytesMax,
    onError: (context) => failure(context, 413, 'BAD_REQUEST', `the body is over ${bodyBytesMax} bytes`),
  });
  for (const path of ['/message', '/suspend', '/remove']) application.use(path, limit);
  application.get('/ping', (context) => answer(context, { type: 'ping' }));
  application.get('/status', (context) => answer(context, { type: 'status' }));
  application.get('/table', (context) => answer(context, { type: 'table' }));
  application.post('/suspend', async (context) => {
    const parsed = suspendBody.safeParse(parseJson(await context.req.text()));
    if (!parsed.success)
      return failure(context, 400, 'BAD_REQUEST', 'expected a body {"flush": true or false}');
    return answer(context, { type: 'suspend', ...parsed.data });
  });
  application.post('/resume', (context) => answer(context, { type: 'resume' }));
  application.post('/remove', async (context) => {
    const text = await context.req.text();
    const parsed = removeBody.safeParse(text === '' ? { force: false } : parseJson(text));
    if (!parsed.success)
      return failure(context, 400, 'BAD_REQUEST', 'expected no body, or {"force": true or false}');
    return answer(context, { type: 'remove', ...parsed.data });
  });
  application.post('/message', async (context) => {
    const parsed = messageBody.safeParse(parseJson(await context.req.text()));
    if (!parsed.success) {
      return failure(context, 400, 'BAD_REQUEST', 'expected a body {"sector": number, "words": [text, …]}');
    }
    return answer(context, { type: 'message', ...parsed.data });
  });
  application.notFound((context) => failure(context, 404, 'BAD_REQUEST', 'no such resource'));
  application.onError((error, context) => {
    // Anything but the data plane's own answer is a bug of this thread: it is told, and the thread goes on.
    if (!(error instanceof AskError)) return failure(context, 500, 'FAILED', 'the control plane failed');
    return failure(context, statusOfFailure[error.code], error.code, error.message);
  });
  return application;
}

/** Undefined for a text that is no JSON: the schema then says what was expected. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Serves the API on a Unix socket that only its owner may open; a socket left by a crashed worker is replaced. */
export function listenOnSocket(socketPath: string, dataPlane: Asker): Promise<Server> {
  // It puts its own Request in place of the thread's: `bodyLimit` needs it, and this thread is ours.
  const handle = getRequestListener(controlApplication(dataPlane).fetch);
  const server = createServer(
    {
      maxHeaderSize: headBytesMax,
      headersTimeout: requestDeadlineMs,
      requestTimeout: requestDeadlineMs,
      keepAlive: false,
    },
    (incoming, outgoing) => {
      // One request a connection: a client that stays connected would hold one of the few places.
      outgoing.setHeader('connection', 'close');
      void handle(incoming, outgoing);
    },
  );
  server.maxConnections = connectionsMax;
  server.on('clientError', (_error, socket) => {
    if (socket.writable)
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n');
    else socket.destroy();
  });
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
