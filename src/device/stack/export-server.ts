import { resolve } from 'node:path';
import type { NbdServer, NbdServerOptions } from '../../nbd/server.ts';
import { closingStep } from '../closing-deadlines.ts';
import type { ClosingStep } from '../closing-steps.ts';
import type { EventSink } from '../event-kinds.ts';
import { type DeviceFolder, noteSocketElsewhere } from '../process/runtime-directory.ts';
import type { ServeOptions } from '../serve-options.ts';
import { SetupError } from '../setup-error.ts';
import type { Disks } from './disks.ts';

/** Of the step's time, for dropping what is left. */
const exportMarginMs = 1_500;

/** What a server tells of its clients, as events; the log bounds how many. */
export function clientEvents(
  events: EventSink,
): Required<Pick<NbdServerOptions, 'onClient' | 'onProtocolError'>> {
  return {
    onClient: (change, peer, open) => events.append({ kind: `client-${change}`, peer, open }),
    onProtocolError: (detail) => events.append({ kind: 'protocol-error', detail }),
  };
}

/** The step that ends an export. `before` runs first. */
export function exportClosing(server: NbdServer, before: () => void): ClosingStep {
  return closingStep('export', async (allowedMs) => {
    before();
    const outstanding = await server.close(allowedMs - exportMarginMs);
    if (outstanding === 0) return;
    throw new SetupError(
      'failed',
      `${outstanding} requests were not finished by the disks and are left to them`,
    );
  });
}

/** The name under which main itself is exported, beside the device (R29). */
export function mainExportName(name: string): string {
  return `${name}/main`;
}

/** Listens where the options say; the URIs of every export in turn, the Unix socket first. */
export function listenForClients(
  server: NbdServer,
  disks: Disks,
  folder: DeviceFolder,
  { socketPath, port }: Pick<ServeOptions, 'socketPath' | 'port'>,
): string[] {
  const unixPath = resolve(socketPath ?? folder.nbdSocketPath);
  server.listen(disks.plane.listenUnix(unixPath));
  if (socketPath !== undefined) noteSocketElsewhere(folder, unixPath);
  const tcp = port === undefined ? undefined : disks.plane.listenTcp('127.0.0.1', port);
  if (tcp !== undefined) server.listen(tcp);
  return server.exports.all.flatMap(({ name }) => [
    `nbd+unix:///${name}?socket=${unixPath}`,
    ...(tcp === undefined ? [] : [`nbd://${tcp.address}/${name}`]),
  ]);
}
