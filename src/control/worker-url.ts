import { extname } from 'node:path';

/**
 * The file that the control plane's thread runs; handed to `device/`, which may not import this room. Beside this file, or beside
 * the whole program where that is one file.
 */
export const workerUrl: URL = new URL(`./worker${extname(import.meta.url)}`, import.meta.url);
