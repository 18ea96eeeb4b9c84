import type { Socket } from 'node:net';
import process from 'node:process';
import type { DeniedPeer } from '../device/messages.ts';
import { type PeerCredentials, peerCredentials } from '../linux/peer-credentials.ts';

/** Refusals are told at once, then summed up for so long: whoever is refused can try thousands of times a second. */
export const deniedWindowMs = 1_000;

export interface PeerGuardParts {
  /** Who is at the other end; undefined when nobody can tell. */
  readonly peerOf?: (socket: Socket) => PeerCredentials | undefined;
  /** Who may use the API besides root. Default: the user of this process. */
  readonly ownUid?: number;
  readonly onDenied: (denied: DeniedPeer) => void;
}

const nobodyKnown: PeerCredentials = { pid: 0, uid: 0xffff_ffff };

/**
 * Root and the user whose device it is may use the API, whatever became of the mode of the socket: somebody may have opened
 * the folder to a monitoring tool, or passed the descriptor on.
 */
export class PeerGuard {
  readonly #peerOf: (socket: Socket) => PeerCredentials | undefined;
  readonly #ownUid: number;
  readonly #onDenied: (denied: DeniedPeer) => void;
  #last: PeerCredentials = nobodyKnown;
  #count = 0;
  #window: NodeJS.Timeout | undefined;

  constructor({ peerOf = peerOfSocket, ownUid = process.geteuid?.() ?? 0, onDenied }: PeerGuardParts) {
    this.#peerOf = peerOf;
    this.#ownUid = ownUid;
    this.#onDenied = onDenied;
  }

  /** False is told to `onDenied`. */
  admits(socket: Socket): boolean {
    const peer = this.#peerOf(socket);
    if (peer !== undefined && (peer.uid === 0 || peer.uid === this.#ownUid)) return true;
    this.#deny(peer ?? nobodyKnown);
    return false;
  }

  #deny(peer: PeerCredentials): void {
    this.#last = peer;
    this.#count += 1;
    if (this.#window !== undefined) return;
    this.#tell();
    this.#window = setTimeout(() => {
      this.#window = undefined;
      if (this.#count > 0) this.#tell();
    }, deniedWindowMs);
    this.#window.unref();
  }

  #tell(): void {
    this.#onDenied({ ...this.#last, count: this.#count });
    this.#count = 0;
  }
}

/** Node has no name for it. Undefined for a socket that is closed already, or a Node that keeps it elsewhere: nobody is let in then. */
function peerOfSocket(socket: Socket): PeerCredentials | undefined {
  const handle: unknown = Reflect.get(socket, '_handle');
  const fd: unknown = typeof handle === 'object' && handle !== null ? Reflect.get(handle, 'fd') : undefined;
  return typeof fd === 'number' && fd >= 0 ? peerCredentials(fd) : undefined;
}
