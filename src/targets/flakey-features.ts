import { TargetError, type TargetErrorCode } from '../mapping/target-error.ts';
import { parseWholeNumber, unsignedMax } from './target-arguments.ts';

/** Probabilities count in billionths. */
export const probabilityBase = 1_000_000_000;

/** All features of one line that go together: error_reads, corrupt_bio_byte, both random ones. */
const featureWordsMax = 11;

/** `corrupt_bio_byte NTH DIRECTION VALUE FLAGS`. */
export interface ByteCorruption {
  /** Counts from 1. */
  readonly nthByte: number;
  readonly direction: 'r' | 'w';
  readonly value: number;
  /** Only requests with all these bits, as `bio->bi_opf` has them. */
  readonly flags: number;
}

/** What goes wrong during the down interval. */
export interface FlakeyFeatures {
  readonly errorReads: boolean;
  readonly dropWrites: boolean;
  readonly errorWrites: boolean;
  readonly corruptByte: ByteCorruption | undefined;
  /** 0 to `probabilityBase`. */
  readonly randomReadCorrupt: number;
  readonly randomWriteCorrupt: number;
}

/** Words of a table line or a message, taken one by one, and the complaint about them. */
class FeatureWords {
  readonly code: 'TARGET_ARGUMENT' | 'MESSAGE_ARGUMENT';
  readonly #words: readonly string[];
  #next = 0;

  constructor(words: readonly string[], code: 'TARGET_ARGUMENT' | 'MESSAGE_ARGUMENT') {
    this.#words = words;
    this.code = code;
  }

  get left(): number {
    return this.#words.length - this.#next;
  }

  take(): string | undefined {
    const word = this.#words[this.#next];
    this.#next += 1;
    return word;
  }

  number(what: string, least: number, most: number): number {
    return parseWholeNumber(`flakey: ${what}`, this.take(), least, most, this.code);
  }

  error(message: string): TargetError {
    const code: TargetErrorCode = this.code;
    return new TargetError(code, `flakey: ${message}`);
  }
}

type Changeable = { -readonly [K in keyof FlakeyFeatures]: FlakeyFeatures[K] };

/**
 * `[#FEATURES FEATURE…]`, by the rules of drivers/md/dm-flakey.c; words behind the counted ones, which it overlooks, are
 * refused. No feature means that all reads and writes fail. Throws `TargetError`.
 */
export function parseFlakeyFeatures(
  words: readonly string[],
  code: 'TARGET_ARGUMENT' | 'MESSAGE_ARGUMENT' = 'TARGET_ARGUMENT',
): FlakeyFeatures {
  const features: Changeable = {
    errorReads: false,
    dropWrites: false,
    errorWrites: false,
    corruptByte: undefined,
    randomReadCorrupt: 0,
    randomWriteCorrupt: 0,
  };
  const left = new FeatureWords(words, code);
  if (left.left > 0) {
    const count = left.number('number of feature words', 0, featureWordsMax);
    if (count !== left.left) {
      throw left.error(`${left.left} feature words follow, the line says ${count}`);
    }
  }
  while (left.left > 0) takeFeature(features, left);
  refuseConflicts(features, left);
  const none = formatFeatureWords(features).length === 0;
  return none ? { ...features, errorReads: true, errorWrites: true } : features;
}

function takeFeature(features: Changeable, words: FeatureWords): void {
  const name = words.take()?.toLowerCase() ?? '';
  switch (name) {
    case 'error_reads':
      refuseDuplicate(features.errorReads, name, words);
      features.errorReads = true;
      return;
    case 'drop_writes':
      refuseDuplicate(features.dropWrites, name, words);
      features.dropWrites = true;
      return;
    case 'error_writes':
      refuseDuplicate(features.errorWrites, name, words);
      features.errorWrites = true;
      return;
    case 'corrupt_bio_byte':
      refuseDuplicate(features.corruptByte !== undefined, name, words);
      features.corruptByte = takeByteCorruption(words);
      return;
    case 'random_read_corrupt':
      refuseDuplicate(features.randomReadCorrupt > 0, name, words);
      features.randomReadCorrupt = words.number(`probability of ${name}`, 0, probabilityBase);
      return;
    case 'random_write_corrupt':
      refuseDuplicate(features.randomWriteCorrupt > 0, name, words);
      features.randomWriteCorrupt = words.number(`probability of ${name}`, 0, probabilityBase);
      return;
    default:
      throw words.error(
        `unknown feature ${name}, expected error_reads, drop_writes, error_writes, corrupt_bio_byte, ` +
          'random_read_corrupt or random_write_corrupt',
      );
  }
}

function takeByteCorruption(words: FeatureWords): ByteCorruption {
  if (words.left < 4) {
    throw words.error(
      `corrupt_bio_byte has ${words.left} words behind it, expected NTH_BYTE DIRECTION VALUE FLAGS`,
    );
  }
  const nthByte = words.number('Nth byte of corrupt_bio_byte', 1, unsignedMax);
  const direction = words.take()?.toLowerCase();
  if (direction !== 'r' && direction !== 'w') {
    throw words.error(`direction of corrupt_bio_byte is ${direction ?? 'missing'}, expected r or w`);
  }
  const value = words.number('value of corrupt_bio_byte', 0, 255);
  const flags = words.number('flags of corrupt_bio_byte', 0, unsignedMax);
  return { nthByte, direction, value, flags };
}

function refuseDuplicate(is: boolean, name: string, words: FeatureWords): void {
  if (is) throw words.error(`feature ${name} is given twice`);
}

function refuseConflicts(features: FlakeyFeatures, words: FeatureWords): void {
  const { dropWrites, errorWrites, errorReads, corruptByte } = features;
  if (dropWrites && errorWrites) throw words.error('drop_writes and error_writes exclude each other');
  const corruptsWrites = corruptByte?.direction === 'w' || features.randomWriteCorrupt > 0;
  const corruptsReads = corruptByte?.direction === 'r' || features.randomReadCorrupt > 0;
  if (corruptsWrites && (dropWrites || errorWrites)) {
    const name = dropWrites ? 'drop_writes' : 'error_writes';
    throw words.error(`${name} excludes random_write_corrupt and corrupt_bio_byte with direction w`);
  }
  if (corruptsReads && errorReads) {
    throw words.error('error_reads excludes random_read_corrupt and corrupt_bio_byte with direction r');
  }
}

/** `#FEATURES FEATURE…` as the kernel prints it, in its order. */
export function formatFlakeyFeatures(features: FlakeyFeatures): string {
  const words = formatFeatureWords(features);
  return [words.length, ...words].join(' ');
}

function formatFeatureWords(features: FlakeyFeatures): string[] {
  const words: string[] = [];
  if (features.errorReads) words.push('error_reads');
  if (features.dropWrites) words.push('drop_writes');
  if (features.errorWrites) words.push('error_writes');
  if (features.corruptByte !== undefined) {
    const { nthByte, direction, value, flags } = features.corruptByte;
    words.push('corrupt_bio_byte', `${nthByte}`, direction, `${value}`, `${flags}`);
  }
  if (features.randomReadCorrupt > 0) words.push('random_read_corrupt', `${features.randomReadCorrupt}`);
  if (features.randomWriteCorrupt > 0) words.push('random_write_corrupt', `${features.randomWriteCorrupt}`);
  return words;
}
