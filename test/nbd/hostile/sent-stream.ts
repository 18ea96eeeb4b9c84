import { Code, Command, type ExportFacts, Flag, optionMagic, requestMagic } from './conversation.ts';

/** One that came whole. */
export interface SentOption {
  readonly code: number;
  /** EXPORT_NAME of an export that there is: bytes of the answer. */
  readonly answerBytes?: number;
}

/** One that came whole, with its payload. */
export interface SentRequest {
  readonly cookie: bigint;
  readonly command: number;
  readonly offset: number;
  readonly length: number;
  /** Whether it is to succeed; undefined where that is not judged. */
  readonly valid: boolean | undefined;
  /** What a good read gives; undefined for the others. */
  readonly expected: Buffer | undefined;
  /** What a good write, trim or zeroing does to the first export. */
  readonly change: Change | undefined;
}

type SentHeader = Pick<SentRequest, 'cookie' | 'command' | 'offset' | 'length' | 'valid'>;

export interface Change {
  readonly offset: number;
  readonly bytes: Buffer;
}

export interface ServerFacts {
  /** The first is the one that changes. */
  readonly exports: readonly ExportFacts[];
  readonly payloadBytesMax: number;
}

type Phase = 'flags' | 'options' | 'transmission' | 'ended' | 'broken';

/** As the project promises in `src/nbd/limits.ts`. */
const optionBytesMax = 8192;
const skippedOptionBytesMax = 1024 * 1024;
const optionsMax = 64;
const skippedPayloadBytesMax = 64 * 1024 * 1024;
const nameBytesMax = 4096;
const blockBytes = 512;

/**
 * What the bytes mean that a client has sent, read from the protocol's page alone: which options and requests are whole, which of
 * them are well-formed, and what those do to the disk. `disk` is a copy of the first export, and is changed as the disk must be.
 */
export class SentStream {
  readonly options: SentOption[] = [];
  readonly requests: SentRequest[] = [];
  phase: Phase = 'flags';
  structured = false;
  readonly #facts: ServerFacts;
  readonly #disks: readonly Buffer[];
  #chosen = 0;
  #fixedNewstyle = false;
  #noZeroes = false;
  #waiting: Buffer = Buffer.alloc(0);
  #skip = 0;
  /** What is complete when the bytes to skip are here. */
  #afterSkip: (() => void) | undefined;

  constructor(facts: ServerFacts, disks: readonly Buffer[]) {
    this.#facts = facts;
    this.#disks = disks;
  }

  /** True while the server reads what comes. */
  get isRead(): boolean {
    return this.phase !== 'ended' && this.phase !== 'broken';
  }

  /** Bytes behind the last that mean something. */
  get unreadBytes(): number {
    return this.#waiting.length;
  }

  feed(bytes: Buffer): void {
    this.#waiting = Buffer.concat([this.#waiting, bytes]);
    while (this.isRead && this.#step());
  }

  /** False when more bytes are needed. */
  #step(): boolean {
    const skipped = Math.min(this.#skip, this.#waiting.length);
    this.#take(skipped);
    this.#skip -= skipped;
    if (this.#skip > 0) return false;
    const after = this.#afterSkip;
    this.#afterSkip = undefined;
    after?.();
    if (this.phase === 'flags') return this.#readFlags();
    return this.phase === 'options' ? this.#readOption() : this.#readRequest();
  }

  #take(length: number): Buffer {
    const bytes = this.#waiting.subarray(0, length);
    this.#waiting = this.#waiting.subarray(length);
    return bytes;
  }

  #readFlags(): boolean {
    if (this.#waiting.length < 4) return false;
    const flags = this.#take(4).readUInt32BE();
    this.#fixedNewstyle = flags % 2 === 1;
    this.#noZeroes = flags >= 2;
    this.phase = flags > 3 ? 'broken' : 'options';
    return true;
  }

  #readOption(): boolean {
    if (this.#waiting.length < 16) return false;
    const code = this.#waiting.readUInt32BE(8);
    const length = this.#waiting.readUInt32BE(12);
    const isTooLong = length > optionBytesMax;
    if (
      this.#waiting.readBigUInt64BE(0) !== optionMagic ||
      (!this.#fixedNewstyle && code !== Code.exportName) ||
      (isTooLong && (code === Code.exportName || length > skippedOptionBytesMax))
    ) {
      this.phase = 'broken';
      return true;
    }
    if (isTooLong) {
      this.#take(16);
      this.#skip = length;
      this.#afterSkip = () => this.#addOption({ code });
      return true;
    }
    if (this.#waiting.length < 16 + length) return false;
    this.#serveOption(code, this.#take(16 + length).subarray(16));
    return true;
  }

  #serveOption(code: number, data: Buffer): void {
    if (code === Code.exportName) {
      this.#chosen = this.#exportNamed(data.toString('latin1'));
      if (this.#chosen < 0) this.phase = 'broken';
      else this.#addOption({ code, answerBytes: this.#noZeroes ? 10 : 134 }, 'transmission');
      return;
    }
    if (code === Code.structuredReply && data.length === 0) this.structured = true;
    if (code === Code.abort) this.#addOption({ code }, 'ended');
    else if (code === Code.go && this.#accepts(data)) this.#addOption({ code }, 'transmission');
    else this.#addOption({ code });
  }

  #addOption(option: SentOption, next: Phase = 'options'): void {
    this.options.push(option);
    this.phase = next === 'options' && this.options.length === optionsMax ? 'broken' : next;
  }

  /** GO: the lengths must add up, and the export must be there. */
  #accepts(data: Buffer): boolean {
    if (data.length < 6) return false;
    const nameLength = data.readUInt32BE(0);
    if (nameLength > nameBytesMax || nameLength > data.length - 6) return false;
    if (6 + nameLength + 2 * data.readUInt16BE(4 + nameLength) !== data.length) return false;
    this.#chosen = this.#exportNamed(data.toString('latin1', 4, 4 + nameLength));
    return this.#chosen >= 0;
  }

  #exportNamed(name: string): number {
    return name === '' ? 0 : this.#facts.exports.findIndex((each) => each.name === name);
  }

  #readRequest(): boolean {
    if (this.#waiting.length < 28) return false;
    const header = this.#waiting.subarray(0, 28);
    if (header.readUInt32BE(0) !== requestMagic) {
      this.phase = 'broken';
      return true;
    }
    const flags = header.readUInt16BE(4);
    const command = header.readUInt16BE(6);
    const cookie = header.readBigUInt64BE(8);
    const offset = header.readBigUInt64BE(16);
    const length = header.readUInt32BE(24);
    const valid = this.#isValid(command, flags, offset, length);
    const request = { cookie, command, offset: Number(offset), length, valid };
    if (command === Command.disconnect) {
      this.phase = 'ended';
      return true;
    }
    if (command === Command.write && valid !== true) {
      this.#take(28);
      this.phase = length > skippedPayloadBytesMax ? 'broken' : this.phase;
      this.#skip = length;
      this.#afterSkip = () => this.#addRequest(request);
      return true;
    }
    const payloadBytes = command === Command.write ? length : 0;
    if (this.#waiting.length < 28 + payloadBytes) return false;
    const payload = this.#take(28 + payloadBytes).subarray(28);
    this.#serveRequest(request, payload);
    return true;
  }

  #serveRequest(request: SentHeader, payload: Buffer): void {
    const { command, offset, length, valid } = request;
    const disk = this.#disks[this.#chosen]!;
    const isZeroing = command === Command.trim || command === Command.writeZeroes;
    if (valid === true && command === Command.read) {
      const expected = Buffer.from(disk.subarray(offset, offset + length));
      this.#addRequest({ ...request, expected });
    } else if (valid === true && (command === Command.write || isZeroing)) {
      const change = { offset, bytes: isZeroing ? Buffer.alloc(length) : Buffer.from(payload) };
      disk.set(change.bytes, offset);
      this.#addRequest({ ...request, change });
    } else {
      this.#addRequest(request);
    }
  }

  #addRequest(request: SentHeader & Partial<SentRequest>): void {
    this.requests.push({ expected: undefined, change: undefined, ...request });
  }

  /** By the rules of the protocol and what the export offers: FUA, FLUSH, TRIM, WRITE_ZEROES, FAST_ZERO, CACHE, DF. */
  #isValid(command: number, flags: number, offset: bigint, length: number): boolean | undefined {
    const { sizeBytes, readOnly } = this.#facts.exports[this.#chosen]!;
    if (command === Command.flush) return flags <= Flag.fua && offset === 0n && length === 0;
    // Which contexts were chosen, and how a read of one chunk is limited, is judged elsewhere.
    if (command === Command.blockStatus || (command === Command.read && (flags & Flag.df) !== 0)) {
      return this.structured ? undefined : false;
    }
    const known = knownFlags.get(command);
    if (known === undefined || (flags & ~known) !== 0) return false;
    if (readOnly && command !== Command.read && command !== Command.cache) return false;
    const isTransfer = command === Command.read || command === Command.write;
    if (isTransfer && length > this.#facts.payloadBytesMax) return false;
    if (length === 0 || offset + BigInt(length) > BigInt(sizeBytes)) return false;
    return offset % BigInt(blockBytes) === 0n && length % blockBytes === 0;
  }
}

const knownFlags: ReadonlyMap<number, number> = new Map([
  [Command.read, Flag.fua],
  [Command.write, Flag.fua],
  [Command.trim, Flag.fua],
  [Command.cache, Flag.fua],
  [Command.writeZeroes, Flag.fua | Flag.noHole | Flag.fastZero],
]);
