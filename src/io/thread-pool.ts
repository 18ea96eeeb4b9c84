/** libuv's own, where nobody says otherwise (deps/uv/src/threadpool.c). */
const threadsDefault = 4;
const threadsMax = 1024;

/** What libuv reads when its first work comes, and never again: it has to be in the environment when a process starts. */
export const threadPoolVariable = 'UV_THREADPOOL_SIZE';

/** Four hung reads would else stop the spare, metadata and the control plane. */
export const threadPoolWanted = 64;

/** Threads that libuv has, or will have when it needs its first. */
export function threadPoolSize(environment: NodeJS.ProcessEnv = process.env): number {
  const text = environment[threadPoolVariable];
  if (text === undefined) return threadsDefault;
  const threads = Number.parseInt(text, 10);
  return Number.isNaN(threads) ? 1 : Math.min(Math.max(threads, 1), threadsMax);
}
