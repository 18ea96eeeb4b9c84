import { type Context, Hono } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import { assert } from '../block/assert.ts';
import type { ControlAnswers, ControlAsk } from '../device/messages.ts';
import type { HealthStatus } from '../health/health-status.ts';
import { AskError } from './data-plane-client.ts';
import { type FailureStatus, serverFailures, statusOfFailure } from './failure-codes.ts';
import { metricsContentType } from './metrics/content-type.ts';
import { methodsOf } from './operations.ts';
import { messageBody, openFileBody, removeBody, suspendBody } from './schema.ts';

/** Bytes of a request's body. */
export const bodyBytesMax = 65_536;

/** What the API needs of the data plane. */
export interface Asker {
  ask(ask: ControlAsk): Promise<ControlAnswers[ControlAsk['type']]>;
  /** Looks anew at how healthy the device and its disks are; null, or absent, where nobody wants to know. */
  health?(): Promise<HealthStatus | null>;
}

function failure(context: Context, status: FailureStatus, code: string, message: string): Response {
  return context.json({ error: { code, message } }, status);
}

/** What `operations` lists. Everything else is 404, or 405; a failure is `{ error: { code, message } }`. */
export function controlApplication(dataPlane: Asker): Hono {
  const application = new Hono();
  const answer = async (context: Context, ask: ControlAsk): Promise<Response> =>
    context.json(await dataPlane.ask(ask));
  const refused = (context: Context, message: string): Response =>
    failure(context, 400, 'BAD_REQUEST', message);

  const limit = bodyLimit({
    maxSize: bodyBytesMax,
    onError: (context) => failure(context, 413, 'BAD_REQUEST', `the body is over ${bodyBytesMax} bytes`),
  });
  for (const path of ['/message', '/suspend', '/open-file', '/remove']) application.use(path, limit);
  application.get('/ping', (context) => answer(context, { type: 'ping' }));
  application.get('/status', (context) => answer(context, { type: 'status' }));
  application.get('/table', (context) => answer(context, { type: 'table' }));
  application.get('/metrics', async (context) => {
    // Loaded at the first scrape: most devices are never asked.
    const { metricsText } = await import('./metrics/metrics-text.ts');
    const status = await dataPlane.ask({ type: 'status' });
    assert('remap' in status, 'control API: a status was answered with something else');
    return context.body(metricsText([status]), 200, { 'content-type': metricsContentType });
  });
  application.get('/health', async (context) =>
    context.json({ health: (await dataPlane.health?.()) ?? null }),
  );
  application.get('/openapi.json', async (context) =>
    context.json((await import('./openapi.ts')).openApiDocument()),
  );
  application.post('/suspend', async (context) => {
    const parsed = suspendBody.safeParse(parseJson(await context.req.text()));
    if (!parsed.success) return refused(context, 'expected a body {"flush": true or false}');
    return answer(context, { type: 'suspend', ...parsed.data });
  });
  application.post('/open-file', async (context) => {
    const parsed = openFileBody.safeParse(parseJson(await context.req.text()));
    if (!parsed.success) return refused(context, 'expected a body {"readOnly": true or false}');
    return answer(context, { type: 'open-file', ...parsed.data });
  });
  application.post('/resume', (context) => answer(context, { type: 'resume' }));
  application.post('/remove', async (context) => {
    const text = await context.req.text();
    const parsed = removeBody.safeParse(text === '' ? { force: false } : parseJson(text));
    if (!parsed.success)
      return refused(
        context,
        'expected no body, or {"force": true or false}, or {"force": false, "handOver": true}',
      );
    return answer(context, { type: 'remove', ...parsed.data });
  });
  application.post('/message', async (context) => {
    const parsed = messageBody.safeParse(parseJson(await context.req.text()));
    if (!parsed.success) return refused(context, 'expected a body {"sector": number, "words": [text, …]}');
    return answer(context, { type: 'message', ...parsed.data });
  });
  application.notFound(refuseUnknown);
  application.onError((error, context) => {
    // Anything but the data plane's own answer is a bug of this thread: it is told, and the thread goes on.
    if (!(error instanceof AskError)) return failure(context, 500, 'FAILED', 'the control plane failed');
    return failure(context, statusOfFailure[error.code], error.code, error.message);
  });
  return application;
}

function refuseUnknown(context: Context): Response {
  const methods = methodsOf(context.req.path);
  if (methods.length === 0) return failure(context, 404, 'BAD_REQUEST', serverFailures[404]);
  context.header('Allow', methods.join(', '));
  const message = `${context.req.path} is for ${methods.join(' and ')}`;
  return failure(context, 405, 'BAD_REQUEST', message);
}

/** Undefined for a text that is no JSON: the schema then says what was expected. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
