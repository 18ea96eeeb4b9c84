import { bindLibc } from '../../linux/system-call.ts';

const exitAtOnce = bindLibc<(code: number) => number>('_exit', 'int', ['int']);

/**
 * Ends this process now. Node's own `process.exit` first waits for every thread of libuv to end: one that asks a disk which
 * does not answer would keep it for ever (R35). What was written to standard output and error is out.
 */
export function endProcess(code: number): never {
  exitAtOnce(code);
  throw new Error('unreachable: _exit returned');
}
