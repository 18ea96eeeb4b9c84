import { tmpdir } from 'node:os';
import { parseArgs } from 'node:util';
import { BenchRefusal } from './tools.ts';

export const usage: string = `npm run bench -- [--full] [--only WORDS] [--contestants WORDS] [--rounds N] [--runtime SECONDS] [--directory DIR] [--json | --svg]
  --full               all workloads and contestants: more than an hour
  --only WORDS         workloads whose name contains one of these, with commas between: 'randread QD1,256k read'
  --contestants WORDS  contestants whose name contains one of these: 'dm-remap,nbdkit file'
  --rounds N           interleaved rounds, default 5
  --runtime SECONDS    of each measurement by fio, default 2
  --directory DIR      on a disk, with 4 GiB free, 13 GiB for --full; default the folder for temporary files
  --json               the report as JSON
  --svg                the report as a picture
  --list               names of workloads and contestants`;

export interface Options {
  readonly full: boolean;
  /** Undefined: all. */
  readonly only: readonly string[] | undefined;
  readonly contestants: readonly string[] | undefined;
  readonly rounds: number;
  readonly runtimeSeconds: number;
  readonly directory: string;
  readonly form: 'text' | 'json' | 'svg';
  readonly list: boolean;
}

/** Throws `BenchRefusal`, or the parser's error with a code. */
export function readOptions(words: string[]): Options {
  const { values } = parseArgs({
    args: words,
    options: {
      full: { type: 'boolean', default: false },
      only: { type: 'string' },
      contestants: { type: 'string' },
      rounds: { type: 'string', default: '5' },
      runtime: { type: 'string', default: '2' },
      directory: { type: 'string', default: tmpdir() },
      json: { type: 'boolean', default: false },
      svg: { type: 'boolean', default: false },
      list: { type: 'boolean', default: false },
    },
  });
  return {
    full: values.full,
    only: partsOf(values.only),
    contestants: partsOf(values.contestants),
    rounds: wholeNumber('--rounds', values.rounds),
    runtimeSeconds: wholeNumber('--runtime', values.runtime),
    directory: values.directory,
    form: values.svg ? 'svg' : values.json ? 'json' : 'text',
    list: values.list,
  };
}

function partsOf(text: string | undefined): string[] | undefined {
  const parts = text?.split(',').map((part) => part.trim());
  return parts?.filter((part) => part !== '');
}

function wholeNumber(name: string, text: string): number {
  const value = /^\d{1,4}$/.test(text) ? Number(text) : 0;
  if (value > 0) return value;
  throw new BenchRefusal(`${name} ${text}: expected a whole number from 1 to 9999\n${usage}`);
}
