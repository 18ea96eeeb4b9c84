import { fileMode, fuseRequestBytesMax, fuseTransferBytesMax } from '../../fuse/constants.ts';
import { FuseSession } from '../../fuse/session.ts';
import type { DataPlane } from '../../io/data-plane.ts';
import type { FuseFile } from '../../io/fuse-file.ts';
import { SystemCallError } from '../../linux/system-call.ts';
import { TransmissionFlag } from '../../nbd/constants.ts';
import type { NbdServer } from '../../nbd/server.ts';
import { SetupError } from '../setup-error.ts';

/** The device as one file of the kernel's, for a loop device over it: at most one at a time. */
export class KernelFile {
  readonly #server: NbdServer;
  readonly #plane: Pick<DataPlane, 'openFuseFile'>;
  #isServed = false;

  constructor(server: NbdServer, plane: Pick<DataPlane, 'openFuseFile'>) {
    this.#server = server;
    this.#plane = plane;
  }

  /** The path by which another process opens it, within 30 s; it lives until the last who has it open closes it. */
  open(readOnly: boolean): string {
    if (this.#isServed) {
      throw new SetupError('busy', 'the file of this device is in use: it is attached, or was a moment ago');
    }
    const file = this.#openFile(readOnly);
    const isAdmitted = this.#server.serveOther((shared) => {
      const { transmissionFlags } = shared.exported;
      const exported = readOnly
        ? { ...shared.exported, transmissionFlags: transmissionFlags | TransmissionFlag.readOnly }
        : shared.exported;
      return new FuseSession({ ...shared, exported, channel: file, onEnd: () => this.#onEnd() });
    });
    if (!isAdmitted) {
      file.close();
      throw new SetupError('busy', 'as many clients are connected as the device takes');
    }
    this.#isServed = true;
    return file.path;
  }

  #openFile(readOnly: boolean): FuseFile {
    try {
      return this.#plane.openFuseFile({
        mode: fileMode,
        requestBytesMax: fuseRequestBytesMax,
        readBytesMax: fuseTransferBytesMax,
        readOnly,
      });
    } catch (error) {
      if (!isSystemError(error)) throw error;
      throw new SetupError(
        'failed',
        `the kernel gives no FUSE file (${error.message}); it needs /dev/fuse and, for the process of the device, the rights of root`,
        { cause: error },
      );
    }
  }

  #onEnd(): void {
    this.#isServed = false;
  }
}

function isSystemError(error: unknown): error is Error {
  return error instanceof SystemCallError || (error instanceof Error && 'syscall' in error);
}
