import { once } from 'node:events';
import { closeSync, fchmodSync, openSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import type { Server } from 'node:http';
import process from 'node:process';
import { metricsText } from '../../control/metrics/metrics-text.ts';
import { SetupError } from '../../device/setup-error.ts';
import type { Terminal } from '../terminal.ts';
import { lookAtDevices } from '../watching/look-at-devices.ts';
import { createExporter } from '../watching/metrics-exporter.ts';

export interface MetricsFlags {
  readonly listen?: string;
  readonly textfile?: string;
}

/** `metrics [NAME...]`: figures of the devices for Prometheus, printed, written to a file, or served. */
export async function runMetrics(
  terminal: Terminal,
  names: readonly string[],
  { listen, textfile }: MetricsFlags,
): Promise<void> {
  if (listen !== undefined && textfile !== undefined)
    throw new SetupError('usage', '--listen and --textfile exclude each other; give one');
  if (listen !== undefined) {
    await serve(terminal, names, listenPlace(listen));
    return;
  }
  const { answers, silent } = await lookAtDevices(names);
  const text = metricsText(answers, silent);
  if (textfile === undefined) terminal.print(text.trimEnd());
  else writeWhole(textfile, text);
  if (silent.length > 0) throw new SetupError('failed', silent.map(({ why }) => why).join('; '));
}

/** Ends by SIGINT or SIGTERM. A device that does not answer is `dm_remap_up 0`, and no reason to end. */
async function serve(terminal: Terminal, names: readonly string[], place: ListenPlace): Promise<void> {
  const server = createExporter(async () => {
    const { answers, silent } = await lookAtDevices(names);
    return metricsText(answers, silent);
  });
  await listening(server, place);
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : place.port;
  terminal.print(
    `serving http://${place.host.includes(':') ? `[${place.host}]` : place.host}:${port}/metrics`,
  );
  const end = (): void => {
    server.close();
    server.closeAllConnections();
  };
  process.once('SIGINT', end);
  process.once('SIGTERM', end);
  try {
    await once(server, 'close');
  } finally {
    process.off('SIGINT', end);
    process.off('SIGTERM', end);
  }
}

async function listening(server: Server, { host, port }: ListenPlace): Promise<void> {
  try {
    server.listen(port, host);
    await once(server, 'listening');
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    const busy = error.code === 'EADDRINUSE';
    throw new SetupError(
      busy ? 'busy' : 'failed',
      `--listen ${host}:${port}: ${busy ? 'another process listens there' : error.message}`,
    );
  }
}

interface ListenPlace {
  readonly host: string;
  readonly port: number;
}

/** The host is to be said: figures name disks, and nobody should serve them to a network by leaving a word out. */
function listenPlace(text: string): ListenPlace {
  const match = /^(?:\[([0-9a-fA-F:.]+)\]|([^:\s[\]]+)):(\d{1,5})$/.exec(text);
  const port = Number(match?.[3]);
  if (match === null || port > 65_535) {
    throw new SetupError(
      'usage',
      `--listen ${text}: expected HOST:PORT, such as 127.0.0.1:19809 or [::1]:19809; 0.0.0.0 is every address`,
    );
  }
  return { host: match[1] ?? match[2]!, port };
}

/**
 * The collector of node_exporter reads whenever it likes: the file appears whole. Others may read it. Its folder may be another
 * user's, who knows the name that comes next: what he put there first is not followed, nor written to.
 */
function writeWhole(path: string, text: string): void {
  // It reads what ends in .prom, so not this.
  const unfinished = `${path}.${process.pid}.new`;
  rmSync(unfinished, { force: true });
  const descriptor = openSync(unfinished, 'wx', 0o600);
  try {
    try {
      writeFileSync(descriptor, text);
      // Whatever the umask is.
      fchmodSync(descriptor, 0o644);
    } finally {
      closeSync(descriptor);
    }
    renameSync(unfinished, path);
  } catch (error) {
    rmSync(unfinished, { force: true });
    throw error;
  }
}
