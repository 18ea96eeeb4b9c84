import { bindLibc } from './system-call.ts';

/** linux/include/uapi/asm-generic/socket.h */
const SOL_SOCKET = 1;
const SO_PEERCRED = 17;

/** struct ucred of linux/include/linux/socket.h: pid, uid, gid, 32 bits each. */
const credentialWords = 3;

const getsockopt = bindLibc<
  (fd: number, level: number, option: number, value: Int32Array, length: Uint32Array) => number
>('getsockopt', 'int', ['int', 'int', 'int', 'void *', 'void *']);

/** Who connected, as the kernel noted it then: no later exec, setuid or passed descriptor changes it. */
export interface PeerCredentials {
  readonly pid: number;
  readonly uid: number;
}

/** Of a connected Unix socket; undefined when the kernel does not say (man 7 unix). */
export function peerCredentials(fd: number): PeerCredentials | undefined {
  const words = new Int32Array(credentialWords);
  const length = new Uint32Array([words.byteLength]);
  if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, words, length) !== 0 || length[0] !== words.byteLength)
    return undefined;
  return { pid: words[0]!, uid: words[1]! >>> 0 };
}
