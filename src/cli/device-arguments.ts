import { resolve } from 'node:path';
import { arenaPageBytes } from '../block/buffer-arena.ts';
import type { CacheMode, MainChoice } from '../device/serve-options.ts';
import { SetupError } from '../device/setup-error.ts';
import { requestMemory } from '../device/stack/request-memory.ts';
import { readTextInput, tableBytesMax } from '../device/text-input.ts';
import { isEngineChoice } from '../io/choose-engine.ts';
import { type EngineChoice, engineChoices } from '../io/io-engine.ts';
import { parseBytes } from './text/byte-size.ts';

/** Options of `create`, `assemble` and `serve` as commander gives them. */
export interface DiskFlags {
  readonly main?: string;
  readonly mainTable?: string;
  readonly mainLabel?: string;
  readonly spare?: string;
  readonly socket?: string;
  readonly port?: string;
  readonly cache: string;
  readonly io?: string;
  readonly memory?: string;
}

function usage(message: string): SetupError {
  return new SetupError('usage', message);
}

/** Main as a path or as a table read from a file or, with `-`, from standard input; undefined when neither is given. */
export function mainChoice(flags: DiskFlags): MainChoice | undefined {
  if (flags.main !== undefined && flags.mainTable !== undefined) {
    throw usage('--main and --main-table both name the main device; give one');
  }
  if (flags.main === '' || flags.mainTable === '' || flags.spare === '') {
    throw usage('--main, --main-table or --spare names nothing: its value is empty');
  }
  if (flags.main !== undefined) return { kind: 'path', path: flags.main };
  if (flags.mainTable === undefined) return undefined;
  return {
    kind: 'table',
    text: readTextInput(flags.mainTable, tableBytesMax, 'a device-mapper table'),
    label: flags.mainLabel ?? (flags.mainTable === '-' ? '-' : resolve(flags.mainTable)),
  };
}

export function portNumber(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const port = /^\d{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (port >= 1 && port <= 65_535) return port;
  throw usage(`--port ${text}: expected a number from 1 to 65535`);
}

/** Bytes for requests of clients; undefined for the default. */
export function requestMemoryBytes(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const bytes = parseBytes(text) ?? Number.NaN;
  const { minBytes, maxBytes } = requestMemory;
  if (bytes >= minBytes && bytes <= maxBytes && bytes % arenaPageBytes === 0) return bytes;
  throw usage(`--memory ${text}: expected a multiple of 4 KiB from 4M to 1G, such as 16M`);
}

export function cacheMode(text: string): CacheMode {
  if (text === 'none' || text === 'writeback') return text;
  throw usage(`--cache ${text}: expected none or writeback`);
}

export function engineChoice(text: string | undefined): EngineChoice | undefined {
  if (text === undefined || isEngineChoice(text)) return text;
  throw usage(`--io ${text}: expected ${engineChoices.join(' or ')}`);
}
