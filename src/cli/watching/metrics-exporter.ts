import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { metricsContentType } from '../../control/metrics/content-type.ts';

/** A Prometheus server or two, and a person with curl. One more is closed at once. */
const connectionsMax = 16;
/** To send a request of some lines. */
const requestTimeoutMs = 5_000;
/** Nothing passes on a connection for so long: who does not read what he asked for keeps no place from others. */
const silentTimeoutMs = 30_000;
const headBytesMax = 8_192;

/**
 * Answers GET /metrics with what `scrape` resolves to. Scrapes that come while one is under way share its answer: whoever reaches
 * the port costs the devices no more than one look at a time.
 */
export function createExporter(scrape: () => Promise<string>): Server {
  let underWay: Promise<string> | undefined;
  const shared = (): Promise<string> => {
    underWay ??= scrape().finally(() => {
      underWay = undefined;
    });
    return underWay;
  };
  const server = createServer(
    { maxHeaderSize: headBytesMax, requestTimeout: requestTimeoutMs, headersTimeout: requestTimeoutMs },
    (incoming, outgoing) => void answer(incoming, outgoing, shared),
  );
  server.maxConnections = connectionsMax;
  server.timeout = silentTimeoutMs;
  return server;
}

async function answer(
  { method, url }: IncomingMessage,
  outgoing: ServerResponse,
  scrape: () => Promise<string>,
): Promise<void> {
  if (method !== 'GET' && method !== 'HEAD') {
    outgoing.setHeader('allow', 'GET, HEAD');
    send(outgoing, 405, 'only GET is served\n');
    return;
  }
  const path = url?.replace(/\?.*$/s, '');
  if (path === '/') send(outgoing, 200, 'dm-remap metrics: see /metrics\n');
  else if (path !== '/metrics') send(outgoing, 404, 'not found: see /metrics\n');
  else await sendMetrics(outgoing, scrape);
}

async function sendMetrics(outgoing: ServerResponse, scrape: () => Promise<string>): Promise<void> {
  try {
    const text = await scrape();
    send(outgoing, 200, text, metricsContentType);
  } catch (error) {
    // The runtime directory cannot be read. The next scrape may find it again; what is our bug is told as well.
    send(outgoing, 503, `${error instanceof Error ? error.message : String(error)}\n`);
  }
}

function send(
  outgoing: ServerResponse,
  status: number,
  text: string,
  contentType = 'text/plain; charset=utf-8',
): void {
  outgoing.writeHead(status, {
    'content-type': contentType,
    'content-length': Buffer.byteLength(text),
    'x-content-type-options': 'nosniff',
  });
  outgoing.end(text);
}
