import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, lstatSync, readdirSync, unlinkSync, writeFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import { join } from 'node:path';
import { afterEach, beforeEach, it } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import fc from 'fast-check';
import { type ByteStream, StreamError, type StreamListener } from '../../src/io/byte-stream.ts';
import type { DataPlane } from '../../src/io/data-plane.ts';
import { ListenError } from '../../src/io/listening-socket.ts';
import { type DataPlaneFixture, dataPlaneFixture } from './data-plane-fixture.ts';
import { describeOnEngines } from './engine-fixture.ts';

describeOnEngines('streams', (io) => {
  let fixture: DataPlaneFixture;
  let plane: DataPlane;
  let path: string;
  let toClose: { close(): Promise<void> }[];

  beforeEach(async () => {
    fixture = await dataPlaneFixture({ io });
    plane = fixture.plane;
    path = join(fixture.directory, 'socket');
    toClose = [];
  });

  afterEach(async () => {
    await Promise.all(toClose.map((one) => one.close()));
    assert.equal(plane.arena.usedBytes, 0, 'the arena is empty');
    await fixture.dispose();
  });

  function closeLater<T extends { close(): Promise<void> }>(one: T): T {
    toClose.push(one);
    return one;
  }

  function take(length: number): Uint8Array {
    const piece = plane.arena.take(length, 'client');
    assert.ok(piece);
    return piece;
  }

  async function pairOver(
    listener: StreamListener,
    connecting: Promise<ByteStream>,
  ): Promise<[ByteStream, ByteStream]> {
    const [server, client] = await Promise.all([closeLater(listener).accept(), connecting]);
    assert.ok(server);
    return [closeLater(server), closeLater(client)];
  }

  const unixPair = (): Promise<[ByteStream, ByteStream]> =>
    pairOver(plane.listenUnix(path), plane.connectUnix(path));

  async function tcpPair(): Promise<[ByteStream, ByteStream]> {
    const listener = plane.listenTcp('127.0.0.1', 0);
    return await pairOver(
      listener,
      plane.connectTcp('127.0.0.1', Number(listener.address.split(':').at(-1))),
    );
  }

  async function receiveAll(stream: ByteStream, length: number): Promise<Uint8Array> {
    const all = new Uint8Array(length);
    let done = 0;
    while (done < length) {
      const count = await stream.receive(all.subarray(done));
      assert.ok(count > 0, 'the peer ended early');
      done += count;
    }
    return all;
  }

  async function assertStreamError(promise: Promise<unknown>, code: string): Promise<void> {
    await assert.rejects(promise, (error: unknown) => error instanceof StreamError && error.code === code);
  }

  for (const [name, pair] of [
    ['Unix socket', unixPair],
    ['TCP loopback', tcpPair],
  ] as const) {
    it(`${name}: carries bytes both ways and tells the end`, async () => {
      const [server, client] = await pair();
      await client.send([Uint8Array.of(1, 2), Uint8Array.of(3)]);
      assert.deepEqual([...(await receiveAll(server, 3))], [1, 2, 3]);
      await server.send([Uint8Array.of(4)]);
      assert.deepEqual([...(await receiveAll(client, 1))], [4]);
      await client.close();
      assert.equal(await server.receive(new Uint8Array(1)), 0);
    });

    it(`${name}: tells that the peer has left while its last bytes wait, and none of them is lost`, async () => {
      const [server, client] = await pair();
      assert.equal(server.peerHasLeft(), false);
      // More than anybody reads ahead.
      const bytes = new Uint8Array(100_000).fill(7);
      await client.send([bytes]);
      await sleep(5);
      assert.equal(server.peerHasLeft(), false);
      await client.close();
      await sleep(5);
      assert.equal(server.peerHasLeft(), true);
      assert.deepEqual(Buffer.from(await receiveAll(server, bytes.length)), Buffer.from(bytes));
      assert.equal(await server.receive(new Uint8Array(1)), 0);
      await server.close();
      assert.equal(server.peerHasLeft(), true);
    });

    it(`${name}: rejects what is outstanding when it is closed`, async () => {
      const [server] = await pair();
      const buffer = take(16);
      const receiving = assertStreamError(server.receive(buffer), 'STREAM_CLOSED');
      await sleep(5);
      await server.close();
      await receiving;
      plane.arena.release(buffer);
      await assertStreamError(server.receive(new Uint8Array(1)), 'STREAM_CLOSED');
      await assertStreamError(server.send([new Uint8Array(1)]), 'STREAM_CLOSED');
    });

    it(`${name}: rejects a send that nobody takes when it is closed`, async () => {
      const [server] = await pair();
      const large = take(4 * 1024 * 1024);
      const sending = assertStreamError(server.send([large, large, large, large]), 'STREAM_CLOSED');
      await sleep(20);
      await server.close();
      await sending;
      plane.arena.release(large);
    });

    it(`${name}: says that the peer broke the connection`, async () => {
      const [server, client] = await pair();
      await client.close();
      const sending = async (): Promise<void> => {
        for (let round = 0; round < 100; round += 1) await server.send([new Uint8Array(4096)]);
      };
      await assertStreamError(sending(), 'STREAM_RESET');
    });
  }

  it('receives into arena memory and sends from it, from any offset', async () => {
    const [server, client] = await unixPair();
    const piece = take(10_000);
    for (let index = 0; index < piece.length; index += 1) piece[index] = index & 0xff;
    const target = take(10_000);
    const sending = client.send([piece.subarray(7, 9007)]);
    let done = 0;
    while (done < 9000) done += await server.receive(target.subarray(100 + done, 9100));
    await sending;
    assert.deepEqual(target.slice(100, 9100), piece.slice(7, 9007));
    plane.arena.release(piece);
    plane.arena.release(target);
  });

  it('keeps bytes in order however they are cut, in the arena and outside', async () => {
    const [server, client] = await unixPair();
    const arenaBytes = take(1024 * 1024);
    for (let index = 0; index < arenaBytes.length; index += 1) arenaBytes[index] = (index * 13) & 0xff;
    const part = fc.record({
      inArena: fc.boolean(),
      start: fc.nat(500_000),
      length: fc.oneof(fc.nat(64), fc.nat(20_000), fc.nat(500_000)),
    });
    await fc.assert(
      fc.asyncProperty(fc.array(part, { maxLength: 12 }), async (cuts) => {
        const parts = cuts.map(({ inArena, start, length }) => {
          const view = arenaBytes.subarray(start, start + length);
          return inArena ? view : Uint8Array.from(view);
        });
        const expected = Buffer.concat(parts);
        const [received] = await Promise.all([receiveAll(server, expected.length), client.send(parts)]);
        assert.equal(Buffer.compare(received, expected), 0);
      }),
      { numRuns: 25 },
    );
    plane.arena.release(arenaBytes);
  });

  it('sends more parts than one message carries', async () => {
    const [server, client] = await unixPair();
    const parts = Array.from({ length: 3000 }, (_, index) => Uint8Array.of(index & 0xff, index >> 8));
    const [received] = await Promise.all([receiveAll(server, 6000), client.send(parts)]);
    assert.equal(Buffer.compare(received, Buffer.concat(parts)), 0);
  });

  it('I27 holds what it sends until the kernel has taken it', async () => {
    const [server, client] = await unixPair();
    const piece = take(1024 * 1024);
    piece.fill(5);
    const sending = client.send([piece]);
    plane.arena.release(piece);
    assert.equal(plane.arena.usedBytes, 1024 * 1024);
    const [received] = await Promise.all([receiveAll(server, 1024 * 1024), sending]);
    assert.ok(received.every((byte) => byte === 5));
    assert.equal(plane.arena.usedBytes, 0);
  });

  it('talks with a client and a server that are not ours', async () => {
    const listener = closeLater(plane.listenUnix(path));
    const client = connect(path);
    const server = closeLater((await listener.accept())!);
    client.write('hello');
    assert.equal(Buffer.from(await receiveAll(server, 5)).toString(), 'hello');
    client.destroy();

    const other = createServer((socket) => socket.pipe(socket)).listen(join(fixture.directory, 'other'));
    const stream = closeLater(await plane.connectUnix(join(fixture.directory, 'other')));
    await stream.send([Uint8Array.of(1, 2, 3)]);
    assert.deepEqual([...(await receiveAll(stream, 3))], [1, 2, 3]);
    await stream.close();
    other.close();
  });

  it('I10 a peer waits when nobody receives: little is kept', async () => {
    const [server, client] = await unixPair();
    const piece = take(64 * 1024);
    let sent = 0;
    const sending = (async () => {
      for (;;) {
        await client.send([piece]);
        sent += piece.length;
      }
    })();
    const ended = assertStreamError(sending, 'STREAM_CLOSED');
    await sleep(100);
    const kept = sent;
    await sleep(50);
    assert.equal(sent, kept, 'it waits');
    // Two buffers of the kernel, and one of ours.
    assert.ok(kept < 1024 * 1024, `${kept} bytes`);
    await receiveAll(server, kept);
    assert.ok(sent > 0);
    await client.close();
    await ended;
    plane.arena.release(piece);
  });

  it('still sends to a peer that has ended its own direction', async () => {
    const listener = closeLater(plane.listenUnix(path));
    const client = connect({ path, allowHalfOpen: true });
    const received: Buffer[] = [];
    client.on('data', (bytes: Buffer) => received.push(bytes));
    const server = closeLater((await listener.accept())!);
    client.end('last words');
    assert.equal(Buffer.from(await receiveAll(server, 10)).toString(), 'last words');
    assert.equal(await server.receive(new Uint8Array(1)), 0);
    assert.equal(await server.receive(new Uint8Array(1)), 0, 'as often as it is asked');
    await server.send([Buffer.from('an answer')]);
    const closed = once(client, 'close');
    await server.close();
    await closed;
    assert.equal(Buffer.concat(received).toString(), 'an answer');
  });

  it('connects to localhost, and says when nobody listens there', async () => {
    const listener = plane.listenTcp('127.0.0.1', 0);
    const port = Number(listener.address.split(':').at(-1));
    await pairOver(listener, plane.connectTcp('localhost', port));
    await listener.close();
    await assertStreamError(plane.connectTcp('localhost', port), 'STREAM_FAILED');
  });

  it('accepts many connections', async () => {
    const listener = closeLater(plane.listenUnix(path));
    const clients = Array.from({ length: 50 }, async () => closeLater(await plane.connectUnix(path)));
    for (let count = 0; count < 50; count += 1) {
      const server = closeLater((await listener.accept())!);
      await server.send([Uint8Array.of(count)]);
    }
    const numbers = await Promise.all(clients.map(async (client) => (await receiveAll(await client, 1))[0]));
    assert.equal(new Set(numbers).size, 50);
  });

  it('a closed listener accepts nobody and removes its path', async () => {
    const listener = plane.listenUnix(path);
    const accepting = listener.accept();
    assert.equal(lstatSync(path).mode & 0o777, 0o600, 'only the owner may connect');
    await sleep(5);
    await Promise.all([listener.close(), listener.close()]);
    assert.equal(await accepting, undefined);
    assert.equal(await listener.accept(), undefined);
    assert.equal(existsSync(path), false);
    await assertStreamError(plane.connectUnix(path), 'STREAM_FAILED');
  });

  it('replaces a socket that nobody listens on, and refuses one that is served', async () => {
    const first = closeLater(plane.listenUnix(path));
    assert.throws(() => plane.listenUnix(path), { code: 'LISTEN_IN_USE' });
    assert.ok(existsSync(path), 'the one that is served keeps its path');
    await first.close();

    const script = `require('node:net').createServer().listen(${JSON.stringify(path)}, () => console.log('up'))`;
    const killed = spawn(process.execPath, ['-e', script], { stdio: ['ignore', 'pipe', 'inherit'] });
    await once(killed.stdout, 'data');
    assert.throws(() => plane.listenUnix(path), { code: 'LISTEN_IN_USE' });
    killed.kill('SIGKILL');
    await once(killed, 'exit');
    assert.ok(lstatSync(path).isSocket(), 'what a killed process leaves behind');
    const again = closeLater(plane.listenUnix(path));
    const [server] = await Promise.all([again.accept(), plane.connectUnix(path).then(closeLater)]);
    closeLater(server!);
  });

  it('does not remove a path that is somebody else’s by now', async () => {
    const listener = plane.listenUnix(path);
    unlinkSync(path);
    writeFileSync(path, 'mine');
    await listener.close();
    assert.ok(existsSync(path));
  });

  it('refuses addresses that cannot be listened on', () => {
    writeFileSync(path, 'a file');
    const cases = [
      [() => plane.listenUnix(path), 'LISTEN_IN_USE'],
      [() => plane.listenUnix('/'.padEnd(200, 'x')), 'LISTEN_BAD_ADDRESS'],
      [() => plane.listenUnix(''), 'LISTEN_BAD_ADDRESS'],
      [() => plane.listenUnix('/nowhere/at/all'), 'LISTEN_FAILED'],
      [() => plane.listenTcp('example.org', 0), 'LISTEN_BAD_ADDRESS'],
      [() => plane.listenTcp('192.0.2.1', 0), 'LISTEN_FAILED'],
    ] as const;
    for (const [listen, code] of cases) {
      assert.throws(listen, (error: unknown) => {
        assert.ok(error instanceof ListenError, String(error));
        assert.equal(error.code, code);
        assert.doesNotMatch(error.message, /\n/);
        return true;
      });
    }
  });

  it('I24 leaves no descriptor behind', async () => {
    const count = (): number => readdirSync('/proc/self/fd').length;
    const before = count();
    for (let round = 0; round < 5; round += 1) {
      const [server, client] = await unixPair();
      await Promise.all([server.close(), client.close(), ...toClose.map((one) => one.close())]);
      toClose = [];
      await assertStreamError(plane.connectUnix(path), 'STREAM_FAILED');
    }
    assert.equal(count(), before);
  });
});
