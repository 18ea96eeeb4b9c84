import { bindLibc, lastErrno } from './system-call.ts';

/** linux/include/uapi/linux/fs.h */
const SEEK_END = 2;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;

const lseek = bindLibc<(fd: number, offset: number, whence: number) => number>('lseek', 'int64_t', [
  'int',
  'int64_t',
  'int',
]);

/**
 * The next byte from `offset` on that the file system has data for, off the calling thread; the negative errno otherwise,
 * -ENXIO when there is none up to the end of the file. Moves the descriptor's position, which nobody here uses.
 */
export function seekData(fd: number, offset: number): Promise<number> {
  return seek(fd, offset, SEEK_DATA);
}

/** As `seekData`, the next byte that is in a hole; the end of a file counts as one. */
export function seekHole(fd: number, offset: number): Promise<number> {
  return seek(fd, offset, SEEK_HOLE);
}

/** Size of the file in bytes, or the negative errno. */
export function seekEnd(fd: number): Promise<number> {
  return seek(fd, 0, SEEK_END);
}

function seek(fd: number, offset: number, whence: number): Promise<number> {
  return new Promise((resolve, reject) => {
    lseek.async(fd, offset, whence, (error, result) => {
      // The errno of the helper thread's call is handed over for the time of this callback.
      if (error === null) resolve(result < 0 ? -lastErrno() : result);
      else reject(new Error('lseek could not be called', { cause: error }));
    });
  });
}
