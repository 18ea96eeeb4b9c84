/** The file that the control plane's thread runs; handed to `device/`, which may not import this room. */
export const workerUrl: URL = new URL(
  import.meta.url.endsWith('.ts') ? './worker.ts' : './worker.js',
  import.meta.url,
);
