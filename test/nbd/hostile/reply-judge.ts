import assert from 'node:assert/strict';
import { Code, Command } from './conversation.ts';
import type { SentRequest, SentStream } from './sent-stream.ts';

const helloBytes = 18;
const optionReplyMagic = 0x0003e889045565a9n;
const [simpleMagic, structuredMagic] = [0x67446698, 0x668e33ef];
const [acknowledge, errorBit] = [1, 0x80000000];
const [offsetData, offsetHole, doneFlag, errorChunks] = [1, 2, 1, 0x8000];
/** Error numbers that may be on the wire. */
const wireErrors = new Set([1, 5, 12, 22, 28, 75, 95, 108]);

/** What is known of a structured reply that is not whole yet. */
interface Assembly {
  readonly request: SentRequest;
  readonly covered: Buffer;
  readonly data: Buffer;
  errno: number;
}

export interface JudgedReplies {
  readonly replies: number;
  readonly readsCompared: number;
}

/**
 * Reads what a server sent to a client whose bytes mean `sent`, and fails the test at the first byte that it should not have
 * sent: every reply is whole, answers something that was asked, says success or failure as it must, and a read has exactly the
 * bytes of the disk. With `whole`, everything that was asked is answered.
 */
export function judgeReplies(received: Buffer, sent: SentStream, whole: boolean): JudgedReplies {
  return new ReplyJudge(received, sent).judge(whole);
}

class ReplyJudge {
  readonly #bytes: Buffer;
  readonly #sent: SentStream;
  readonly #unanswered = new Map<bigint, SentRequest[]>();
  readonly #assemblies = new Map<bigint, Assembly>();
  #lastWasGo = false;
  #at = 0;
  #replies = 0;
  #readsCompared = 0;

  constructor(received: Buffer, sent: SentStream) {
    this.#bytes = received;
    this.#sent = sent;
    for (const request of sent.requests) {
      const others = this.#unanswered.get(request.cookie);
      if (others === undefined) this.#unanswered.set(request.cookie, [request]);
      else others.push(request);
    }
  }

  judge(whole: boolean): JudgedReplies {
    const isShaken = this.#judgeHandshake(whole);
    while (isShaken && this.#left > 0 && this.#judgeReply());
    if (whole) {
      assert.equal(this.#left, 0, 'bytes behind the last whole reply');
      const missing = [...this.#unanswered.values()].flat();
      assert.equal(missing.length, 0, `${missing.length} requests were not answered`);
      assert.equal(this.#assemblies.size, 0, 'a structured reply has no end');
    }
    return { replies: this.#replies, readsCompared: this.#readsCompared };
  }

  get #left(): number {
    return this.#bytes.length - this.#at;
  }

  /** Undefined when there are fewer. */
  #take(length: number): Buffer | undefined {
    if (this.#left < length) return undefined;
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  /** True when it ended in the transmission phase. */
  #judgeHandshake(whole: boolean): boolean {
    const hello = this.#take(helloBytes);
    if (hello === undefined) return false;
    assert.equal(hello.toString('latin1', 0, 16), 'NBDMAGICIHAVEOPT');
    for (const option of this.#sent.options) {
      const isAnswered =
        option.answerBytes === undefined
          ? this.#judgeOption(option.code)
          : this.#take(option.answerBytes) !== undefined;
      if (!isAnswered) {
        assert.ok(!whole, `option ${option.code} was not answered`);
        return false;
      }
      this.#replies += 1;
    }
    const last = this.#sent.options.at(-1);
    const isShaken = last !== undefined && (last.answerBytes !== undefined || this.#lastWasGo);
    if (!isShaken) assert.equal(this.#left, 0, 'bytes behind the last option’s reply');
    return isShaken;
  }

  #judgeOption(code: number): boolean {
    for (;;) {
      const header = this.#take(20);
      if (header === undefined) return false;
      assert.equal(header.readBigUInt64BE(0), optionReplyMagic);
      assert.equal(header.readUInt32BE(8), code, 'a reply to another option');
      const type = header.readUInt32BE(12);
      if (this.#take(header.readUInt32BE(16)) === undefined) return false;
      this.#lastWasGo = code === Code.go && type === acknowledge;
      if (type === acknowledge || type >= errorBit) return true;
    }
  }

  #judgeReply(): boolean {
    if (this.#left < 4) return false;
    const magic = this.#bytes.readUInt32BE(this.#at);
    if (magic === structuredMagic) return this.#judgeChunk();
    assert.equal(magic, simpleMagic, 'neither a simple nor a structured reply');
    const header = this.#take(16);
    if (header === undefined) return false;
    const errno = header.readUInt32BE(4);
    const request = this.#answered(header.readBigUInt64BE(8));
    this.#judgeErrno(request, errno);
    if (request.command !== Command.read || errno !== 0) return true;
    assert.ok(!this.#sent.structured, 'a good read has a simple reply after structured ones were agreed on');
    const data = this.#take(request.length);
    if (data === undefined) return false;
    this.#compare(request, data);
    return true;
  }

  #judgeChunk(): boolean {
    assert.ok(this.#sent.structured, 'a structured reply was not agreed on');
    const header = this.#take(20);
    if (header === undefined) return false;
    const flags = header.readUInt16BE(4);
    const type = header.readUInt16BE(6);
    const cookie = header.readBigUInt64BE(8);
    const payload = this.#take(header.readUInt32BE(16));
    if (payload === undefined) return false;
    const assembly = this.#assembly(cookie);
    this.#addChunk(assembly, type, payload);
    if ((flags & doneFlag) === 0) return true;
    this.#assemblies.delete(cookie);
    const { request, errno, covered, data } = assembly;
    this.#judgeErrno(request, errno);
    if (errno !== 0 || request.expected === undefined) return true;
    assert.ok(!covered.includes(0), 'a good read has a gap');
    this.#compare(request, data);
    return true;
  }

  #assembly(cookie: bigint): Assembly {
    const begun = this.#assemblies.get(cookie);
    if (begun !== undefined) return begun;
    const request = this.#answered(cookie);
    const length = request.expected?.length ?? 0;
    const assembly = { request, errno: 0, covered: Buffer.alloc(length), data: Buffer.alloc(length) };
    this.#assemblies.set(cookie, assembly);
    return assembly;
  }

  #addChunk({ request, covered, data }: Assembly, type: number, payload: Buffer): void {
    if (type >= errorChunks) {
      this.#assemblies.get(request.cookie)!.errno = payload.readUInt32BE(0);
      return;
    }
    if (type !== offsetData && type !== offsetHole) return;
    if (request.expected === undefined) return;
    const length = type === offsetData ? payload.length - 8 : payload.readUInt32BE(8);
    const at = Number(payload.readBigUInt64BE(0)) - request.offset;
    assert.ok(at >= 0 && at + length <= data.length, 'a chunk outside the range that was asked for');
    assert.ok(!covered.subarray(at, at + length).includes(1), 'two chunks for the same bytes');
    covered.fill(1, at, at + length);
    if (type === offsetData) data.set(payload.subarray(8), at);
  }

  /** The request that a reply answers; of several with one cookie the one that came first. */
  #answered(cookie: bigint): SentRequest {
    const requests = this.#unanswered.get(cookie);
    assert.ok(requests !== undefined, `a reply to ${cookie}, which nobody asked or which is answered`);
    if (requests.length === 1) this.#unanswered.delete(cookie);
    this.#replies += 1;
    return requests.shift()!;
  }

  #judgeErrno({ command, valid }: SentRequest, errno: number): void {
    if (errno !== 0) assert.ok(wireErrors.has(errno), `error ${errno} may not be on the wire`);
    if (valid === undefined) return;
    assert.equal(errno === 0, valid, `command ${command} was answered ${errno}`);
  }

  #compare(request: SentRequest, data: Buffer): void {
    // Not judged whether it may succeed, so not looked at either.
    if (request.expected === undefined) return;
    assert.ok(data.equals(request.expected), `a read of ${request.length} bytes has others than the disk`);
    this.#readsCompared += 1;
  }
}
