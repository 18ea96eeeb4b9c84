import type { FuzzTarget } from '../engine/fuzz-target.ts';
import { Command, diskBytes, Flag } from './client-disk.ts';
import { ClientsWorld, clientsMax } from './clients-world.ts';
import type { ScriptedRequest } from './scripted-client.ts';

/** Bytes of a step: what, on which client; then what it is about. */
const stepBytes = 4;
const headBytes = 4;
const stepsMax = 40;
const sector = 512;
/** Longer requests are of no other kind: this is two blocks and a part of a third. */
const requestSectorsMax = 20;

const Step = {
  connect: 0,
  connectSlowly: 1,
  ask: 2,
  askSeveral: 3,
  askInPart: 4,
  sendRest: 5,
  pass: 6,
  deaf: 7,
  hear: 8,
  finishHandshake: 9,
  abort: 10,
  failFlush: 11,
  delay: 12,
  cutPower: 13,
} as const;
const stepKinds = Object.keys(Step).length;

const passes = [1, 3, 10, 100, 1_000, 4_900, 12_000, 29_000, 36_000, 60_000, 114_000, 126_000] as const;
const delays = [5, 50, 2_000, 20_000] as const;
const commands = [
  Command.read,
  Command.write,
  Command.flush,
  Command.write,
  Command.trim,
  Command.writeZeroes,
  Command.read,
  // BLOCK_STATUS, for which no context was chosen.
  7,
] as const;

/** A request by three bytes: command and flags, first sector, sectors; now and then no whole ones. */
function requestOf(how: number, at: number, count: number): Omit<ScriptedRequest, 'payload'> {
  const command = commands[how & 7]!;
  const flags = ((how & 8) === 0 ? 0 : Flag.fua) | ((how & 16) === 0 ? 0 : Flag.fastZero);
  if (command === Command.flush && (how & 32) === 0)
    return { command, flags: flags & Flag.fua, offset: 0, length: 0 };
  const ragged = (how & 0xc0) === 0xc0 ? 100 : 0;
  const length = (1 + (count % requestSectorsMax)) * sector - ragged;
  const offset = (how & 0xc0) === 0x40 ? Math.floor(at / 8) * 8 * sector : at * sector;
  return { command, flags, offset, length: (how & 0xc0) === 0x40 ? 8 * sector : length };
}

/** Plays a program of steps against a world of its own. */
class Player {
  readonly #world: ClientsWorld;
  /** What of a begun message is not sent yet. */
  readonly #rest: (Buffer | undefined)[] = [];

  constructor(input: Buffer) {
    this.#world = new ClientsWorld({
      badForWrites: input[1] ?? 0,
      badForReads: (input[2] ?? 0) & (input[3] ?? 0),
      spareBlockBytes: ((input[0] ?? 0) & 1) === 0 ? sector : 4096,
      mainHasFua: ((input[0] ?? 0) & 2) === 0,
    });
  }

  async play(input: Buffer): Promise<void> {
    const end = Math.min(input.length, headBytes + stepsMax * stepBytes);
    for (let at = headBytes; at + stepBytes <= end; at += stepBytes) {
      await this.#step(input.subarray(at, at + stepBytes));
    }
    await this.#world.end();
  }

  async #step([what, a, b, c]: Buffer): Promise<void> {
    const world = this.#world;
    const place = what! % clientsMax;
    const kind = Math.floor(what! / clientsMax) % stepKinds;
    if (kind === Step.pass) await world.pass(passes[a! % passes.length]!);
    else if (kind === Step.cutPower) world.cutPower();
    else if (kind === Step.failFlush) world.stack.mainDisk.faults.failFlush('once');
    else if (kind === Step.delay) {
      const doneMs = delays[b! % delays.length]!;
      world.stack.mainDisk.faults.delayNext(1 + (a! % 4), { doneMs });
    } else if (kind === Step.connect || kind === Step.connectSlowly) {
      await this.#connect(place, kind === Step.connectSlowly, a!, b!);
    } else if (!world.isFree(place)) await this.#stepOf(place, kind, [a!, b!, c!]);
  }

  async #connect(place: number, isSlow: boolean, how: number, cut: number): Promise<void> {
    const world = this.#world;
    await world.pass(0);
    if (!world.isFree(place) || world.isFull) return;
    world.connect(place, { inSectors: (how & 1) === 0, structured: (how & 2) !== 0 });
    this.#rest[place] = undefined;
    const client = world.clientAt(place)!;
    const bytes = client.handshake;
    if (isSlow) {
      const at = cut % bytes.length;
      client.send(bytes.subarray(0, at));
      this.#rest[place] = bytes.subarray(at);
    } else {
      client.send(bytes);
      world.watchOf(place).shaken();
    }
    await world.pass(0);
  }

  async #stepOf(place: number, kind: number, [a, b, c]: readonly [number, number, number]): Promise<void> {
    const world = this.#world;
    const client = world.clientAt(place)!;
    const watch = world.watchOf(place);
    if (kind === Step.abort) world.abort(place);
    else if (kind === Step.deaf || kind === Step.hear) {
      watch.isDeaf = kind === Step.deaf;
      client.isDeaf = kind === Step.deaf;
    } else if (kind === Step.sendRest || kind === Step.finishHandshake) this.#sendRest(place);
    else if (!watch.owes) this.#ask(place, kind, requestOf(a, b % (diskBytes / sector + 2), c));
    await world.pass(0);
  }

  #sendRest(place: number): void {
    const rest = this.#rest[place];
    if (rest === undefined) return;
    this.#rest[place] = undefined;
    const watch = this.#world.watchOf(place);
    if (watch.isShaking) watch.shaken();
    watch.completes();
    this.#world.clientAt(place)!.send(rest);
  }

  #ask(place: number, kind: number, request: Omit<ScriptedRequest, 'payload'>): void {
    const world = this.#world;
    const client = world.clientAt(place)!;
    if (kind === Step.askInPart) {
      // It counts from here on: a server that did it before all of it is here would be found by its bytes.
      const bytes = world.ask(place, request);
      const at = 1 + ((request.offset / sector + request.length) % (bytes.length - 1));
      client.send(bytes.subarray(0, at));
      this.#rest[place] = bytes.subarray(at);
      world.watchOf(place).begins(request.command === Command.write ? request.length : 0);
      return;
    }
    client.send(world.ask(place, request));
    if (kind !== Step.askSeveral) return;
    client.send(world.ask(place, { ...request, offset: (request.offset + 4 * sector) % diskBytes }));
    client.send(world.ask(place, { command: Command.read, flags: 0, offset: 0, length: 16 * sector }));
  }
}

function program(head: readonly number[], ...steps: readonly (readonly number[])[]): Buffer {
  return Buffer.concat([
    Buffer.from(head),
    ...steps.map((step) => Buffer.from([...step, 0, 0, 0].slice(0, stepBytes))),
  ]);
}

const step = (kind: number, client = 0): number => kind * clientsMax + client;
const [sectors, blocks, structuredSectors] = [0, 1, 2];
const [read, write, flush, fuaWrite] = [0, 1, 2, 9];

export const nbdClients: FuzzTarget = {
  name: 'nbd-clients',
  what: 'clients in sectors and in blocks over a bad disk, failed flushes, slow and deaf clients: every reply, byte and deadline is as promised',
  inputBytesMax: headBytes + stepsMax * stepBytes,
  executionsPerLook: 32,
  executionsInTests: 600,
  seeds: () => [
    program(
      [0, 0, 0, 0],
      [step(Step.connect), sectors],
      [step(Step.connect, 1), blocks],
      [step(Step.ask), write, 3, 9],
      [step(Step.ask, 1), write, 0, 15],
      [step(Step.pass), 3],
      [step(Step.ask), read, 1, 19],
      [step(Step.ask), flush],
      [step(Step.cutPower)],
    ),
    program(
      [1, 0x0f, 0x33, 0xff],
      [step(Step.connect), structuredSectors],
      [step(Step.askSeveral), write, 2, 2],
      [step(Step.pass), 4],
      [step(Step.ask), read, 0, 19],
      [step(Step.ask), write + 0x40, 0, 0],
      [step(Step.pass), 4],
      [step(Step.ask), read, 0, 19],
    ),
    program(
      [2, 0, 0, 0],
      [step(Step.connect), sectors],
      [step(Step.connect, 1), blocks],
      [step(Step.ask), write, 9, 3],
      [step(Step.pass), 3],
      [step(Step.failFlush)],
      [step(Step.ask, 1), flush],
      [step(Step.pass), 3],
      [step(Step.ask), fuaWrite, 20, 3],
      [step(Step.pass), 3],
      [step(Step.ask), flush],
      [step(Step.ask, 1), flush],
      [step(Step.pass), 3],
      [step(Step.cutPower)],
    ),
    // An ill-formed write with FUA says nothing about a failed flush.
    program(
      [0, 0, 0, 0],
      [step(Step.connect), blocks],
      [step(Step.connect, 1), sectors],
      [step(Step.failFlush)],
      [step(Step.ask, 1), flush],
      [step(Step.pass), 3],
      [step(Step.ask), fuaWrite, 0, 0],
      [step(Step.ask), flush],
      [step(Step.pass), 3],
    ),
    program(
      [0, 0, 0, 0],
      [step(Step.connectSlowly), sectors, 9],
      [step(Step.pass), 7],
      [step(Step.finishHandshake)],
    ),
    program([0, 0, 0, 0], [step(Step.connectSlowly), blocks, 30], [step(Step.pass), 8], [step(Step.pass), 4]),
    ...[4, 40, 2_000].map((length) =>
      program(
        [0, 0, 0, 0],
        [step(Step.connect), sectors],
        [step(Step.askInPart), write, length % 251, length % 17],
        [step(Step.pass), 10],
        [step(Step.pass), 6],
        [step(Step.pass), 6],
      ),
    ),
    program(
      [0, 0, 0, 0],
      [step(Step.connect), sectors],
      [step(Step.deaf)],
      ...Array.from({ length: 5 }, () => [step(Step.askSeveral), read, 0, 19]),
      [step(Step.pass), 11],
      [step(Step.pass), 6],
      [step(Step.connect), blocks],
      [step(Step.ask), read, 0, 7],
    ),
    program(
      [0, 0xff, 0, 0],
      [step(Step.connect), sectors],
      [step(Step.delay), 2, 2],
      [step(Step.askSeveral), write, 6, 4],
      [step(Step.abort)],
      [step(Step.connect), blocks],
      [step(Step.askSeveral), write + 0x40, 8, 4],
      [step(Step.pass), 5],
      [step(Step.ask), read + 0x40, 8, 7],
    ),
  ],
  words: Array.from({ length: stepKinds * 2 }, (_, index) =>
    Buffer.from([step(index >> 1, index & 1), 1, 8, 7]),
  ),
  open: () => Promise.resolve({ run: (input) => new Player(input).play(input) }),
};
