import { getRequestListener } from '@hono/node-server';
import { type Asker, controlApplication } from './application.ts';

export type RequestListener = ReturnType<typeof getRequestListener>;

/** The API, as what Node's server calls with each request. */
export function requestListener(dataPlane: Asker): RequestListener {
  // It puts its own Request in place of the thread's: `bodyLimit` needs it, and this thread is ours.
  return getRequestListener(controlApplication(dataPlane).fetch);
}
