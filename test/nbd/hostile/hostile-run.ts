import assert from 'node:assert/strict';
import { NbdCounter } from '../../../src/nbd/counters.ts';
import { SeededRandom } from '../../../src/simulator/seeded-random.ts';
import { bytesFrom, type ExportFacts, goodConversation } from './conversation.ts';
import type { HostileLink, HostileTarget } from './hostile-target.ts';
import { mutated } from './mutate.ts';
import { judgeReplies } from './reply-judge.ts';
import { type Change, SentStream, type ServerFacts } from './sent-stream.ts';

/** What a run did, for the person who reads it: a run in which nothing happens proves nothing. */
export interface HostileOutcome {
  conversations: number;
  /** Messages that were mutated and that the server read. */
  mutatedMessages: number;
  /** Messages of all kinds, read or not. */
  messages: number;
  bytes: number;
  /** Connections that the server ended because of what it read. */
  dropped: number;
  aborted: number;
  deaf: number;
  replies: number;
  readsCompared: number;
  changes: number;
  /** Requests of the healthy client beside all that, every one answered. */
  healthyRequests: number;
}

export function noOutcome(): HostileOutcome {
  return {
    ...{ conversations: 0, mutatedMessages: 0, messages: 0, bytes: 0, dropped: 0, aborted: 0, deaf: 0 },
    ...{ replies: 0, readsCompared: 0, changes: 0, healthyRequests: 0 },
  };
}

/** At the end of the disk: the healthy client's. A mutated request that is well-formed may reach it all the same. */
const healthyBytes = 8 * 1024;
const requestsMax = 14;
/** Turns that a server may take to end a connection; the slowest disk takes four a request. */
const turnsMax = 20_000;

export class HostileRun {
  readonly outcome: HostileOutcome = noOutcome();
  readonly #target: HostileTarget;
  readonly #facts: ServerFacts;
  /** The disk as it must be. */
  #shadow: Buffer;
  readonly #readOnlyDisk: Buffer;

  constructor(target: HostileTarget) {
    this.#target = target;
    const views = target.server.exports.all.map(({ aligned }) => aligned.exported);
    const exports: ExportFacts[] = views.map(({ name, sizeBytes, transmissionFlags }) => {
      return { name, sizeBytes, readOnly: (transmissionFlags & 2) !== 0 };
    });
    this.#facts = { exports, payloadBytesMax: views[0]!.maximumPayloadBytes };
    this.#shadow = Buffer.from(target.disk.bytes);
    this.#readOnlyDisk = Buffer.alloc(exports[1]?.sizeBytes ?? 0);
  }

  /** One client from its first byte to its last. Everything about it follows from `seed`. */
  async converse(seed: string): Promise<void> {
    const random = new SeededRandom(seed);
    const isDeaf = random.chance(0.05);
    const end = isDeaf || random.chance(0.2) ? 'abort' : 'finish';
    const disk = Buffer.from(this.#shadow);
    const sent = new SentStream(this.#facts, [disk, this.#readOnlyDisk]);
    const link = this.#target.connect(random, isDeaf);
    await this.#send(random, link, sent);
    if (random.chance(0.5)) await this.#target.settle();
    await this.#judgeEnd(link, sent, disk, { isDeaf, end });
    await this.#askHealthily(random);
  }

  /** One client that sends `pieces`, each when the server has done what it can, and then ends. */
  async play(pieces: readonly Buffer[], end: 'finish' | 'abort'): Promise<void> {
    const disk = Buffer.from(this.#shadow);
    const sent = new SentStream(this.#facts, [disk, this.#readOnlyDisk]);
    const link = this.#target.connect(new SeededRandom(pieces.length), false);
    for (const piece of pieces) {
      if (piece.length === 0) continue;
      link.send(piece);
      sent.feed(piece);
      this.outcome.messages += 1;
      this.outcome.bytes += piece.length;
      await this.#target.settle();
    }
    await this.#judgeEnd(link, sent, disk, { isDeaf: false, end });
  }

  /** A good conversation for `play`, the same for the same seed. */
  goodBytes(seed: string, requests: number): Buffer {
    const messages = goodConversation(new SeededRandom(seed), this.#facts.exports, requests);
    return Buffer.concat(messages.map(({ bytes }) => bytes));
  }

  async #judgeEnd(
    link: HostileLink,
    sent: SentStream,
    disk: Buffer,
    { isDeaf, end }: { readonly isDeaf: boolean; readonly end: 'finish' | 'abort' },
  ): Promise<void> {
    const { outcome } = this;
    if (end === 'abort') link.abort();
    else link.finish();
    const received = await link.received;
    // A socket that is closed with bytes unread may lose what was sent last.
    const isCut = sent.phase === 'broken' || (sent.phase === 'ended' && sent.unreadBytes > 0);
    if (!isDeaf) {
      const { replies, readsCompared } = judgeReplies(received, sent, end === 'finish' && !isCut);
      outcome.replies += replies;
      outcome.readsCompared += readsCompared;
    }
    await this.#ended();
    this.#judgeDisk(sent, disk, end === 'abort');
    outcome.conversations += 1;
    outcome.changes += sent.requests.filter(({ change }) => change !== undefined).length;
    outcome.dropped += sent.phase === 'broken' ? 1 : 0;
    outcome.deaf += isDeaf ? 1 : 0;
    outcome.aborted += end === 'abort' && !isDeaf ? 1 : 0;
  }

  /** A good conversation, mutated from some message on, in pieces of any size. */
  async #send(random: SeededRandom, link: HostileLink, sent: SentStream): Promise<void> {
    const targeted = this.#facts.exports.map((each) => ({
      ...each,
      sizeBytes: each.sizeBytes - healthyBytes,
    }));
    const messages = goodConversation(random, targeted, random.below(requestsMax));
    const spared = random.below(messages.length);
    const { outcome } = this;
    for (const [at, message] of messages.entries()) {
      // What follows the end of it all is sent now and then only.
      if (!sent.isRead && random.chance(0.7)) return;
      const isMutated = at >= spared && random.chance(0.7);
      const bytes = isMutated ? mutated(random, message, random.pick(messages)) : message.bytes;
      if (isMutated && sent.isRead) outcome.mutatedMessages += 1;
      outcome.messages += 1;
      outcome.bytes += bytes.length;
      const cut = random.below(bytes.length + 1);
      for (const piece of random.chance(0.5) ? [bytes] : [bytes.subarray(0, cut), bytes.subarray(cut)]) {
        if (piece.length === 0) continue;
        link.send(piece);
        sent.feed(piece);
        if (random.chance(0.2)) await this.#target.settle();
      }
      if (random.chance(0.1)) await this.#flushHealthily();
    }
  }

  /** Nothing of the connection is left: no place, no memory. */
  async #ended(): Promise<void> {
    const { server, idleBytes } = this.#target;
    const isOver = (): boolean =>
      server.counters[NbdCounter.connectionsOpen] === 1 && this.#target.usedBytes() === idleBytes;
    for (let turns = 0; turns < turnsMax && !isOver(); turns += 1) await this.#target.settle();
    assert.equal(server.counters[NbdCounter.connectionsOpen], 1, 'a connection is left');
    assert.equal(this.#target.usedBytes(), idleBytes, 'memory is left');
  }

  /** The disk is as the well-formed changes make it; of a client that left early as the first so many of them do. */
  #judgeDisk(sent: SentStream, disk: Buffer, leftEarly: boolean): void {
    const actual = this.#target.disk.bytes;
    if (disk.equals(actual)) {
      this.#shadow = disk;
      return;
    }
    assert.ok(leftEarly, 'the disk is not what the client’s well-formed requests make it');
    const changes = sent.requests.flatMap(({ change }) => (change === undefined ? [] : [change]));
    const reached = this.#prefixOf(changes, actual);
    assert.ok(reached !== undefined, 'the disk is not what some of the client’s requests, in order, make it');
    this.#shadow = reached;
  }

  #prefixOf(changes: readonly Change[], actual: Uint8Array): Buffer | undefined {
    const disk = Buffer.from(this.#shadow);
    if (disk.equals(actual)) return disk;
    for (const { offset, bytes } of changes) {
      disk.set(bytes, offset);
      if (disk.equals(actual)) return disk;
    }
    return undefined;
  }

  async #flushHealthily(): Promise<void> {
    await this.#target.healthy.flush();
    this.outcome.healthyRequests += 1;
  }

  /** The client that was connected all the time still writes, and reads what it wrote. */
  async #askHealthily(random: SeededRandom): Promise<void> {
    const { healthy } = this.#target;
    const start = this.#shadow.length - healthyBytes;
    const written = bytesFrom(random, 512);
    const offset = start + 512 * random.below(healthyBytes / 512);
    await healthy.write(written, offset);
    this.#shadow.set(written, offset);
    const read = Buffer.alloc(healthyBytes);
    await healthy.read(read, start);
    assert.ok(read.equals(this.#shadow.subarray(start)), 'the healthy client’s bytes');
    this.outcome.healthyRequests += 2;
  }
}
