import { type ByteStream, StreamError } from '../../../src/io/byte-stream.ts';
import { request } from '../../nbd/hostile/conversation.ts';
import { memoryStreamPair } from '../../nbd/memory-stream.ts';
import { bytesOf, field, optionHex } from '../../nbd/wire-client.ts';
import { must } from '../engine/fuzz-target.ts';

/** Bytes on their way in each direction; a client that takes nothing has the server wait behind so many. */
const capacityBytes = 16_384;
const helloBytes = 18;
const exportNameAnswerBytes = 10;
const [simpleMagic, structuredMagic] = [0x67446698, 0x668e33ef];
const [dataChunk, holeChunk, errorChunks, errorOffsetChunk] = [1, 2, 0x8000, 0x8002];
const readCommand = 0;

/** What a client asked for in its handshake. */
export interface ClientKind {
  /** It never asked for block sizes (R11). */
  readonly inSectors: boolean;
  readonly structured: boolean;
}

/** A request on its way or answered. `payload` is there for writes. */
export interface ScriptedRequest {
  readonly command: number;
  readonly flags: number;
  readonly offset: number;
  readonly length: number;
  readonly payload?: Buffer;
}

/** What came back: for a read each byte that is valid, and whether it is. */
export interface ScriptedReply {
  errno: number;
  readonly data: Buffer;
  readonly covered: Buffer;
}

/** A server's end of a connection that says when the server closed it. */
class ServerEnd implements ByteStream {
  readonly #below: ByteStream;
  readonly #onClose: () => void;

  constructor(below: ByteStream, onClose: () => void) {
    this.#below = below;
    this.#onClose = onClose;
  }

  get peer(): string {
    return this.#below.peer;
  }

  receive(target: Uint8Array): Promise<number> {
    return this.#below.receive(target);
  }

  send(parts: readonly Uint8Array[]): Promise<void> {
    return this.#below.send(parts);
  }

  peerHasLeft(): boolean {
    return this.#below.peerHasLeft();
  }

  close(): Promise<void> {
    this.#onClose();
    return this.#below.close();
  }
}

/** One client that sends what a program says, when it says so, and reads replies by the protocol's page. */
export class ScriptedClient {
  readonly kind: ClientKind;
  readonly handshake: Buffer;
  readonly onReply: (cookie: number, reply: ScriptedReply) => void;
  /** Nothing of it is on its way to the server any more, or ever will be. */
  onServerClosed: () => void = () => undefined;
  isClosedByServer = false;
  readonly #stream: ReturnType<typeof memoryStreamPair>['client'];
  readonly #assemblies = new Map<number, ScriptedReply>();
  readonly #requests = new Map<number, ScriptedRequest>();
  #received: Buffer = Buffer.alloc(0);
  #sending: Promise<void> = Promise.resolve();
  #handshakeLeft: number;
  #isDeaf = false;
  #wake: (() => void) | undefined;
  readonly #done: Promise<void>;

  constructor(
    kind: ClientKind,
    serve: (stream: ByteStream) => void,
    onReply: (cookie: number, reply: ScriptedReply) => void,
  ) {
    this.kind = kind;
    this.onReply = onReply;
    const structured = kind.structured ? optionHex(8) : '';
    const blockSizes = kind.inSectors ? '' : optionHex(6, `00000000${field(1, 2)}${field(3, 2)}`);
    this.handshake = Buffer.from(bytesOf(`00000003${structured}${blockSizes}${optionHex(1)}`));
    const optionReply = 20;
    const information = optionReply + 12 + optionReply + 14 + optionReply;
    this.#handshakeLeft =
      helloBytes +
      (kind.structured ? optionReply : 0) +
      (kind.inSectors ? 0 : information) +
      exportNameAnswerBytes;
    const pair = memoryStreamPair({ capacityBytes });
    this.#stream = pair.client;
    serve(
      new ServerEnd(pair.server, () => {
        if (this.isClosedByServer) return;
        this.isClosedByServer = true;
        this.onServerClosed();
      }),
    );
    this.#done = this.#receive();
  }

  send(bytes: Buffer): void {
    // The server may have closed: the program goes on, and is judged by what was answered.
    this.#sending = this.#sending.then(() => this.#stream.send([bytes])).catch(ignoreStreamError);
  }

  bytesOf(cookie: number, { command, flags, offset, length, payload }: ScriptedRequest): Buffer {
    const more = { flags, ...(payload === undefined ? {} : { payload }) };
    return request(command, BigInt(cookie), offset, length, more).bytes;
  }

  /** All of it is on its way: replies to it are read. */
  expect(cookie: number, asked: ScriptedRequest): void {
    this.#requests.set(cookie, asked);
  }

  set isDeaf(isDeaf: boolean) {
    this.#isDeaf = isDeaf;
    if (!isDeaf) this.#wake?.();
  }

  finish(): void {
    this.isDeaf = false;
    this.#sending = this.#sending.then(() => this.#stream.finish());
  }

  abort(): void {
    void this.#stream.close();
    this.isDeaf = false;
  }

  /** Resolves when nothing more can come. */
  async ended(): Promise<void> {
    await this.#done;
  }

  async #receive(): Promise<void> {
    const piece = Buffer.allocUnsafe(4096);
    for (;;) {
      while (this.#isDeaf) {
        await new Promise<void>((resolve) => {
          this.#wake = resolve;
        });
      }
      const count = await this.#stream.receive(piece).catch(ignoreStreamError);
      if (count === undefined || count === 0) break;
      this.#received = Buffer.concat([this.#received, piece.subarray(0, count)]);
      while (this.#take());
    }
    await this.#stream.close();
  }

  /** False when more bytes are needed. */
  #take(): boolean {
    if (this.#handshakeLeft > 0) {
      const taken = Math.min(this.#handshakeLeft, this.#received.length);
      this.#handshakeLeft -= taken;
      this.#received = this.#received.subarray(taken);
      return taken > 0;
    }
    if (this.#received.length < 4) return false;
    const magic = this.#received.readUInt32BE(0);
    must(
      magic === (this.kind.structured ? structuredMagic : simpleMagic) || magic === simpleMagic,
      'no reply',
    );
    return magic === simpleMagic ? this.#takeSimple() : this.#takeChunk();
  }

  #takeSimple(): boolean {
    if (this.#received.length < 16) return false;
    const errno = this.#received.readUInt32BE(4);
    const cookie = Number(this.#received.readBigUInt64BE(8));
    const asked = this.#askedAs(cookie);
    const dataBytes = errno === 0 && asked.command === readCommand ? asked.length : 0;
    if (this.#received.length < 16 + dataBytes) return false;
    const data = Buffer.from(this.#received.subarray(16, 16 + dataBytes));
    this.#received = this.#received.subarray(16 + dataBytes);
    this.#answered(cookie, { errno, data, covered: Buffer.alloc(dataBytes, 1) });
    return true;
  }

  #takeChunk(): boolean {
    if (this.#received.length < 20) return false;
    const length = this.#received.readUInt32BE(16);
    if (this.#received.length < 20 + length) return false;
    const flags = this.#received.readUInt16BE(4);
    const type = this.#received.readUInt16BE(6);
    const cookie = Number(this.#received.readBigUInt64BE(8));
    const payload = this.#received.subarray(20, 20 + length);
    this.#received = this.#received.subarray(20 + length);
    const asked = this.#askedAs(cookie);
    const reply = this.#assemblies.get(cookie) ?? emptyReply(asked);
    this.#assemblies.set(cookie, reply);
    addChunk(reply, asked, type, payload);
    if ((flags & 1) !== 0) this.#answered(cookie, reply);
    return true;
  }

  #askedAs(cookie: number): ScriptedRequest {
    const asked = this.#requests.get(cookie);
    must(asked !== undefined, `a reply to ${cookie}, which was not asked or is answered`);
    return asked;
  }

  #answered(cookie: number, reply: ScriptedReply): void {
    this.#requests.delete(cookie);
    this.#assemblies.delete(cookie);
    this.onReply(cookie, reply);
  }
}

function emptyReply({ command, length }: ScriptedRequest): ScriptedReply {
  const bytes = command === readCommand ? length : 0;
  return { errno: 0, data: Buffer.alloc(bytes), covered: Buffer.alloc(bytes) };
}

function addChunk(reply: ScriptedReply, asked: ScriptedRequest, type: number, payload: Buffer): void {
  if (type === errorOffsetChunk || type === errorChunks + 1) {
    reply.errno = payload.readUInt32BE(0);
    return;
  }
  if (type !== dataChunk && type !== holeChunk) {
    must(type === 0, `a chunk of type ${type}`);
    return;
  }
  const length = type === dataChunk ? payload.length - 8 : payload.readUInt32BE(8);
  const at = Number(payload.readBigUInt64BE(0)) - asked.offset;
  must(at >= 0 && at + length <= reply.data.length, 'a chunk outside the range that was asked for');
  must(!reply.covered.subarray(at, at + length).includes(1), 'two chunks for the same bytes');
  reply.covered.fill(1, at, at + length);
  if (type === dataChunk) reply.data.set(payload.subarray(8), at);
}

function ignoreStreamError(error: unknown): undefined {
  if (!(error instanceof StreamError)) throw error;
}
