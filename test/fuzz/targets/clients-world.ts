import { sectorBytes } from '../../../src/block/block-device.ts';
import { PagedArena } from '../../../src/block/buffer-arena.ts';
import { NbdCounter } from '../../../src/nbd/counters.ts';
import { NbdServer } from '../../../src/nbd/server.ts';
import { AlignmentFilter } from '../../../src/remap/request/alignment-filter.ts';
import { type Change, JudgedSectors, versionPattern, type Watch } from '../../nbd/judged-sectors.ts';
import { finish, makeStack, type Stack } from '../../remap/remap-stack.ts';
import { must, Violation } from '../engine/fuzz-target.ts';
import {
  BadBlocks,
  blockBytes,
  Command,
  diskBytes,
  diskSectors,
  Flag,
  isWellFormed,
  sectorsPerBlock,
} from './client-disk.ts';
import { ClientWatch } from './client-watch.ts';
import { type Acknowledged, FlushJudge, type ToldFlushes } from './flush-judge.ts';
import {
  type ClientKind,
  ScriptedClient,
  type ScriptedReply,
  type ScriptedRequest,
} from './scripted-client.ts';

export const clientsMax = 4;
/** Clients that have gone keep their places while the disk works for them. */
const connectionsMax = 12;
const [eio, enotsup] = [5, 95];
/** More than four requests that take as long as a program may say, one behind the other. Virtual milliseconds. */
const closeMs = 600_000;
const endStepMs = 500;

/** What a program is about before its first step. */
export interface ClientsWorldOptions {
  /** As `BadBlocks`. */
  readonly badForWrites: number;
  readonly badForReads: number;
  readonly spareBlockBytes: number;
  readonly mainHasFua: boolean;
}

interface Asked {
  readonly request: ScriptedRequest;
  readonly place: Place;
  readonly change: Change | undefined;
  readonly watch: Watch | undefined;
  readonly isValid: boolean;
  /** A FLUSH: what had been acknowledged when it was sent. */
  readonly covered: readonly Acknowledged[];
  /** It touches a block that nobody can read, and writes a part of one. */
  readonly isDoomed: boolean;
  /** Flushes of main that had failed when it was sent. */
  readonly failedBefore: number;
}

interface Place {
  readonly client: ScriptedClient;
  readonly watch: ClientWatch;
  readonly told: ToldFlushes;
}

/**
 * Clients in blocks and in sectors over one bad disk whose blocks are 4 KiB, under virtual time, and what each of them may be
 * told: by sector which bytes a read may find and which a power cut may leave, by client whether it owes the server anything.
 */
export class ClientsWorld {
  readonly stack: Stack;
  readonly #judge = new JudgedSectors(diskSectors);
  readonly #flushes = new FlushJudge(this.#judge);
  readonly #blocks: BadBlocks;
  readonly #server: NbdServer;
  readonly #arena = new PagedArena(new ArrayBuffer(2 << 20), {
    remapBytes: 0,
    metadataBytes: 0,
    poison: true,
  });
  readonly #places: (Place | undefined)[] = [];
  readonly #ending: Promise<void>[] = [];
  readonly #asked = new Map<number, Asked>();
  #cookie = 0;
  #isEnding = false;
  /** What a client found wrong while it read. */
  #wrong: Error | undefined;

  constructor(options: ClientsWorldOptions) {
    this.stack = makeStack({
      mainBytes: diskBytes,
      spareBytes: 1 << 20,
      mainBlockBytes: blockBytes,
      spareBlockBytes: options.spareBlockBytes,
      mainCapabilities: { fua: options.mainHasFua },
      onMainCacheDropped: () => this.#flushes.flushFailed(),
    });
    this.#blocks = new BadBlocks(this.stack, options.badForWrites, options.badForReads);
    const { device, clock } = this.stack;
    this.#server = new NbdServer({
      exports: [{ name: 'disk', device, unalignedDevice: new AlignmentFilter(device) }],
      arena: this.#arena,
      clock,
      limits: {
        ...{ connectionsMax, requestsInFlightMax: 64 },
        ...{ receiveBufferBytes: 12 * 1024, directPayloadBytesMin: 2048 },
      },
    });
  }

  /** Places without a client that can still send. */
  isFree(place: number): boolean {
    return this.#places[place] === undefined;
  }

  get isFull(): boolean {
    return this.#server.counters[NbdCounter.connectionsOpen]! >= connectionsMax;
  }

  clientAt(place: number): ScriptedClient | undefined {
    return this.#places[place]?.client;
  }

  connect(place: number, kind: ClientKind): void {
    const serve = this.#server.serve.bind(this.#server);
    const client = new ScriptedClient(kind, serve, (cookie, reply) => this.#answered(cookie, reply));
    const watch = new ClientWatch(this.stack.clock);
    const made: Place = { client, watch, told: this.#flushes.newClient() };
    client.onServerClosed = () => {
      try {
        watch.serverClosed();
      } catch (error) {
        this.#wrong ??= asError(error);
      }
      if (this.#places[place] === made) this.#places[place] = undefined;
      // It takes what is on its way, and sees the end.
      client.isDeaf = false;
    };
    this.#places[place] = made;
    const ended = client.ended().then(() => this.#gone(made));
    this.#ending.push(
      ended.catch((error: unknown) => {
        this.#wrong ??= asError(error);
      }),
    );
  }

  watchOf(place: number): ClientWatch {
    return this.#places[place]!.watch;
  }

  /** The client goes away in the middle of whatever it does. */
  abort(place: number): void {
    const found = this.#places[place];
    if (found === undefined) return;
    found.watch.clientLeft();
    found.client.abort();
    this.#places[place] = undefined;
    this.#gone(found);
  }

  /** Begins a request: from here on the server may do it. Its bytes. */
  ask(place: number, request: Omit<ScriptedRequest, 'payload'>): Buffer {
    const asking = this.#places[place]!;
    const isValid = isWellFormed(this.stack.device, asking.client.kind, request);
    const { command, offset, length } = request;
    const [first, count] = [offset / sectorBytes, length / sectorBytes];
    const change = isValid ? this.#begin(command, first, count) : undefined;
    const bytes =
      change === undefined ? new Uint8Array(length) : versionPattern(first, count, change.version);
    const asked: ScriptedRequest =
      command === Command.write ? { ...request, payload: Buffer.from(bytes) } : request;
    this.#cookie += 1;
    this.#asked.set(this.#cookie, {
      request: asked,
      place: asking,
      change,
      watch: isValid && command === Command.read ? this.#judge.watch(first, count) : undefined,
      isValid,
      covered: command === Command.flush && isValid ? this.#flushes.covered() : [],
      isDoomed: isValid && this.#blocks.dooms(request),
      failedBefore: this.#flushes.failedFlushes,
    });
    asking.client.expect(this.#cookie, asked);
    return asking.client.bytesOf(this.#cookie, asked);
  }

  #begin(command: number, first: number, count: number): Change | undefined {
    if (command === Command.write) return this.#judge.begin('data', first, count);
    if (command === Command.writeZeroes) return this.#judge.begin('zeros', first, count);
    if (command !== Command.trim) return undefined;
    // R20: parts of blocks stay as they are.
    const from = Math.ceil(first / sectorsPerBlock) * sectorsPerBlock;
    const to = Math.floor((first + count) / sectorsPerBlock) * sectorsPerBlock;
    return to > from ? this.#judge.begin('zeros', from, to - from) : undefined;
  }

  #answered(cookie: number, reply: ScriptedReply): void {
    const asked = this.#asked.get(cookie);
    must(asked !== undefined, `a second reply to ${cookie}`);
    this.#asked.delete(cookie);
    const { request, isValid } = asked;
    const what = `command ${request.command} of ${request.length} bytes at ${request.offset}`;
    must(isValid || reply.errno !== 0, `${what} is not well-formed, and succeeded`);
    if (!isValid) return;
    must(reply.errno === 0 || this.#mayFail(asked, reply.errno), `${what} fails with ${reply.errno}`);
    const isStillDoomed = asked.isDoomed && this.#blocks.dooms(request);
    must(!isStillDoomed || reply.errno !== 0, `${what} succeeded over a block that cannot be read`);
    this.#judgeFlush(asked, reply.errno, what);
    this.#judgeRead(asked, reply);
    this.#endChange(asked, reply.errno === 0, isStillDoomed);
    if (reply.errno === 0) this.#makeDurable(asked);
  }

  /** A block that fails only writes is moved; what cannot be read, or a failed flush, is told. */
  #mayFail({ request, place, failedBefore }: Asked, errno: number): boolean {
    const { command, flags } = request;
    if (command === Command.writeZeroes && (flags & Flag.fastZero) !== 0 && errno === enotsup) return true;
    if (errno !== eio) return false;
    const isFlush = command === Command.flush;
    if (!isFlush && this.#blocks.touchedBy(request)) return true;
    return (isFlush || (flags & Flag.fua) !== 0) && this.#flushes.mayFail(place.told, isFlush, failedBefore);
  }

  /** R7: of a flush that failed each client hears on its next FLUSH or FUA, once. */
  #judgeFlush({ request, place, failedBefore }: Asked, errno: number, what: string): void {
    const isFlush = request.command === Command.flush;
    if (request.command === Command.read || (!isFlush && (request.flags & Flag.fua) === 0)) return;
    if (errno === 0) this.#flushes.succeeded(place.told, failedBefore, what);
    else if (errno === eio) this.#flushes.failed(place.told, isFlush, failedBefore);
  }

  #judgeRead({ request, watch }: Asked, { errno, data, covered }: ScriptedReply): void {
    if (watch === undefined) return;
    this.#judge.stop(watch);
    must(errno !== 0 || !covered.includes(0), 'a good read has a gap');
    for (let at = 0; at < data.length; at += sectorBytes) {
      if (covered.subarray(at, at + sectorBytes).includes(0)) continue;
      this.#judge.check(watch, (request.offset + at) / sectorBytes, data.subarray(at, at + sectorBytes));
    }
  }

  #endChange({ request, change }: Asked, isGood: boolean, isRefused: boolean): void {
    if (change === undefined) return;
    // R11: it changes nothing then, nowhere.
    if (isRefused && request.command !== Command.trim) {
      this.#judge.withdraw(change);
      return;
    }
    // What a trim leaves is zeros or what was there.
    this.#judge.end(change, isGood && request.command !== Command.trim);
    this.#blocks.revive(change);
  }

  #makeDurable({ request, change, place, covered }: Asked): void {
    if (request.command === Command.flush) this.#flushes.flushed(covered, place.told);
    else if (change !== undefined && request.command !== Command.trim) {
      if ((request.flags & Flag.fua) !== 0) this.#judge.makeDurable(change);
      else this.#flushes.acknowledge(change, place.told);
    }
  }

  /** It will not be answered any more: what it sent may be done, or not. */
  #gone(place: Place): void {
    for (const [cookie, asked] of this.#asked) {
      if (asked.place !== place) continue;
      this.#asked.delete(cookie);
      if (!this.#isEnding || !place.watch.isLeaving) this.#giveUp(asked);
      else throw new Violation(`command ${asked.request.command} was not answered`);
    }
    this.#flushes.gone(place.told);
  }

  #giveUp({ watch, change }: Asked): void {
    if (watch !== undefined) this.#judge.stop(watch);
    if (change === undefined) return;
    this.#judge.end(change, false);
    this.#blocks.revive(change);
  }

  /** Virtual milliseconds; what clients owe is looked at behind it. */
  async pass(ms: number): Promise<void> {
    await this.stack.clock.runFor(ms);
    this.#throwWhatIsWrong();
    for (const place of this.#places) place?.watch.judge();
  }

  #throwWhatIsWrong(): void {
    if (this.#wrong !== undefined) throw this.#wrong;
  }

  /** What would be left if the power went now. */
  cutPower(): void {
    const { mainDisk, spareDisk, metadata, granuleBytes, random } = this.stack;
    const table = metadata.replay();
    const main = mainDisk.afterPowerCut(random).image;
    const spare = spareDisk.afterPowerCut(random).image;
    const bytes = new Uint8Array(sectorBytes);
    for (let sector = 0; sector < diskSectors; sector += 1) {
      const granule = table.get(Math.floor(sector / sectorsPerBlock));
      const inGranule = sector % sectorsPerBlock;
      if (granule !== undefined && (granule.gone & (1 << inGranule)) !== 0) continue;
      if (granule !== undefined && granule.slot >= 0 && (granule.held & (1 << inGranule)) !== 0) {
        spare.read(bytes, granule.slot * granuleBytes + inGranule * sectorBytes);
      } else main.read(bytes, sector * sectorBytes);
      this.#judge.checkAfterCut(sector, bytes);
    }
  }

  /** Everybody takes his replies and leaves; then nothing is left. */
  async end(): Promise<void> {
    const { clock, mainDisk } = this.stack;
    mainDisk.faults.calm();
    this.#isEnding = true;
    for (const [index, place] of this.#places.entries()) {
      if (place === undefined) continue;
      if (place.watch.owes) this.abort(index);
      else {
        place.watch.finishing();
        place.client.finish();
      }
    }
    let hasEnded = false;
    void Promise.all(this.#ending).then(() => {
      hasEnded = true;
    });
    for (let waitedMs = 0; waitedMs < closeMs && !hasEnded; waitedMs += endStepMs) {
      await clock.runFor(endStepMs);
    }
    this.#throwWhatIsWrong();
    must(hasEnded, 'a connection never ends');
    must(this.#asked.size === 0, `${this.#asked.size} requests were not answered`);
    this.cutPower();
    must((await clock.run(this.#server.close(closeMs))) === 0, 'requests are left at the device');
    must(this.#arena.usedBytes === 0, `${this.#arena.usedBytes} bytes of memory are left`);
    await finish(this.stack, { lazyLost: true });
  }
}

function asError(error: unknown): Error {
  return error instanceof Error ? error : new Error(String(error));
}
