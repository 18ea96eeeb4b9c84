import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { createDataPlane } from '../../src/io/data-plane.ts';

/** A line of /proc/net/tcp, the kernel's own account of a connection (Documentation/networking/proc_net_tcp.rst). */
interface TcpConnection {
  readonly localAddress: string;
  readonly localPort: number;
  readonly remotePort: number;
  readonly state: number;
  /** 0 none, 1 retransmission, 2 keepalive. */
  readonly timer: number;
  /** Until it expires, ticks of 1/100 s. */
  readonly timerTicks: number;
}

function tcpConnections(): readonly TcpConnection[] {
  const lines = readFileSync('/proc/net/tcp', 'utf8').trim().split('\n').slice(1);
  return lines.map((line) => {
    const [, local = '', remote = '', state = '', , timer = ''] = line.trim().split(/\s+/);
    const [localAddress = '', localPort = ''] = local.split(':');
    const [kind = '', ticks = ''] = timer.split(':');
    return {
      localAddress,
      localPort: Number.parseInt(localPort, 16),
      remotePort: Number.parseInt(remote.split(':')[1] ?? '', 16),
      state: Number.parseInt(state, 16),
      timer: Number.parseInt(kind, 16),
      timerTicks: Number.parseInt(ticks, 16),
    };
  });
}

const [established, listening, keepAlive] = [1, 10, 2];

/** The file is read in pieces while connections of others come and go, so that a single look may miss one. */
async function bothEnds(port: number): Promise<readonly TcpConnection[]> {
  for (let looks = 0; ; looks += 1) {
    const ends = tcpConnections().filter(
      (one) => one.state === established && (one.localPort === port || one.remotePort === port),
    );
    if (ends.length === 2 || looks === 100) return ends;
    await sleep(10);
  }
}

test('TCP: nobody else’s machine can connect, and an idle peer that has gone is noticed within minutes', async () => {
  const plane = createDataPlane({ arenaBytes: 4 * 1024 * 1024, remapBytes: 0, metadataBytes: 0 });
  try {
    const listener = plane.listenTcp('127.0.0.1', 0);
    const port = Number(listener.address.split(':')[1]);
    const ours = tcpConnections().filter((one) => one.localPort === port && one.state === listening);
    assert.deepEqual(
      ours.map((one) => one.localAddress),
      ['0100007F'],
      'loopback only',
    );
    const accepting = listener.accept();
    const client = await plane.connectTcp('127.0.0.1', port);
    const server = await accepting;
    assert.ok(server !== undefined);
    // The kernel's timer of an idle connection runs only with SO_KEEPALIVE.
    const ends = await bothEnds(port);
    assert.equal(ends.length, 2);
    for (const end of ends) {
      assert.equal(end.timer, keepAlive);
      assert.ok(end.timerTicks > 5000 && end.timerTicks <= 6100, `${end.timerTicks} ticks, not 60 s`);
    }
    await Promise.all([client.close(), server.close(), listener.close()]);
  } finally {
    await plane.close();
  }
});
