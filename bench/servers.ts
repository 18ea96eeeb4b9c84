import { join } from 'node:path';
import process from 'node:process';
import { fileURLToPath } from 'node:url';
import { ControlClient } from '../src/control/client.ts';
import { CommandFailure, runCommand } from './command.ts';
import { programPath } from './program-path.ts';
import { type BenchServer, startServerProcess } from './server-process.ts';
import { BenchRefusal, findTool } from './tools.ts';
import type { WorkFiles } from './work-files.ts';

const sectorBytes = 512;
const deviceName = 'bench';

export interface RemapServerOptions {
  readonly imageBytes: number;
  readonly remapCount: number;
}

/** The device under test, as an operator makes it, with remaps spread evenly over it. */
export async function startRemapServer(files: WorkFiles, options: RemapServerOptions): Promise<BenchServer> {
  const environment = {
    ...process.env,
    DM_REMAP_RUNTIME_DIR: join(files.folder, 'run'),
    DM_REMAP_STATE_DIR: join(files.folder, 'state'),
  };
  const runCli = async (...words: string[]): Promise<void> => {
    await runCommand(process.execPath, [programPath(), ...words], { environment });
  };
  const spare = ['--spare', join(files.folder, 'spare'), '--create-spare', '64M'];
  await runCli('create', deviceName, '--main', files.imagePath, ...spare, '--cache', 'writeback');
  try {
    const deviceFolder = join(files.folder, 'run', deviceName);
    const client = new ControlClient(join(deviceFolder, 'control.sock'));
    await spreadRemaps(client, options);
    const { pid } = await client.status();
    return {
      name: `dm-remap, ${options.remapCount} remaps`,
      uri: `nbd+unix:///?socket=${join(deviceFolder, 'nbd.sock')}`,
      pid,
      stop: () => runCli('remove', deviceName),
    };
  } catch (error) {
    await runCli('remove', deviceName);
    throw error;
  }
}

/** Throws when the device does not count as many remaps as were asked for. */
async function spreadRemaps(client: ControlClient, options: RemapServerOptions): Promise<void> {
  const { imageBytes, remapCount } = options;
  const stepSectors = Math.floor(imageBytes / sectorBytes / remapCount);
  for (let index = 0; index < remapCount; index += 1) {
    await client.message(0, ['remap', String(index * stepSectors)]);
  }
  const { remappedGranules } = (await client.status()).remap;
  if (remappedGranules !== remapCount) {
    throw new BenchRefusal(`asked for ${remapCount} remaps, the device has ${remappedGranules}`);
  }
}

/** The server to be compared with. Locking is off because the file is open in the others too; they never run at one time. */
export function startQemuNbd(files: WorkFiles): Promise<BenchServer> {
  const socketPath = join(files.folder, 'qemu.sock');
  return startServerProcess({
    name: 'qemu-nbd io_uring',
    program: findTool('qemu-nbd') ?? 'qemu-nbd',
    words: [
      '--socket',
      socketPath,
      '--persistent',
      '--shared=8',
      '--cache=writeback',
      '--aio=io_uring',
      '--image-opts',
      `driver=raw,file.driver=file,file.filename=${files.imagePath},file.locking=off`,
    ],
    socketPath,
  });
}

export function startNbdkit(files: WorkFiles): Promise<BenchServer> {
  const socketPath = join(files.folder, 'nbdkit.sock');
  return startServerProcess({
    name: 'nbdkit file',
    program: findTool('nbdkit') ?? 'nbdkit',
    words: ['--foreground', '--unix', socketPath, 'file', files.imagePath],
    socketPath,
  });
}

/** Our server without remap target and metadata. */
export function startLinearServer(files: WorkFiles): Promise<BenchServer> {
  const socketPath = join(files.folder, 'linear.sock');
  const program = fileURLToPath(new URL('./linear-server.js', import.meta.url));
  return startServerProcess({
    name: 'dm-remap, linear',
    program: process.execPath,
    words: [program, files.imagePath, socketPath],
    socketPath,
  });
}

/** Throws when two servers do not serve the same bytes; by a program that is neither of them. */
export async function requireEqualBytes(
  one: BenchServer,
  other: BenchServer,
  signal: AbortSignal,
): Promise<void> {
  try {
    const words = ['compare', '-f', 'raw', '-F', 'raw', one.uri, other.uri];
    await runCommand(findTool('qemu-img') ?? 'qemu-img', words, { signal });
  } catch (error) {
    if (!(error instanceof CommandFailure)) throw error;
    throw new BenchRefusal(`${one.name} and ${other.name} do not serve the same bytes: ${error.message}`);
  }
}
