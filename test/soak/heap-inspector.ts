import { randomBytes } from 'node:crypto';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { get } from 'node:http';
import { connect, type Socket } from 'node:net';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';

const inspectorMsMax = 20_000;
const pollMs = 50;
const answerBytesMax = 1_000_000;
const settleMs = 500;
/** State of a listening socket in /proc/net/tcp (include/net/tcp_states.h). */
const listening = '0A';
const usage = 'process.memoryUsage().heapUsed';

/** For a device's environment: so several can be inspected at one time. */
export const inspectorOptions = '--inspect-port=0';

/**
 * Bytes of live objects in all threads of a Node.js process after a full collection of garbage: what it has not yet collected
 * says nothing about a leak. The process must have been started with `inspectorOptions`; its inspector opens on SIGUSR1.
 */
export async function collectedHeapBytes(pid: number): Promise<number> {
  const deadline = AbortSignal.timeout(inspectorMsMax);
  process.kill(pid, 'SIGUSR1');
  const session = await InspectorSession.open(await inspectorPort(pid, deadline), deadline);
  try {
    return await session.collectAll();
  } finally {
    session.close();
  }
}

/** Where the process listens on TCP, which a device of a soak does for its inspector alone. */
async function inspectorPort(pid: number, deadline: AbortSignal): Promise<number> {
  for (;;) {
    const inodes = new Set(socketInodes(pid));
    for (const line of readFileSync('/proc/net/tcp', 'latin1').split('\n').slice(1)) {
      const [, local = '', , state, , , , , , inode = ''] = line.trim().split(/\s+/);
      if (state === listening && inodes.has(inode)) return Number.parseInt(local.split(':')[1]!, 16);
    }
    await sleep(pollMs, undefined, { signal: deadline });
  }
}

function socketInodes(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((descriptor) => {
    try {
      return /^socket:\[(\d+)\]$/.exec(readlinkSync(`/proc/${pid}/fd/${descriptor}`))?.[1] ?? [];
    } catch {
      // It was closed while we looked.
      return [];
    }
  });
}

interface Message {
  readonly id?: number;
  readonly method?: string;
  readonly params?: { readonly sessionId?: string; readonly message?: string };
  readonly result?: { readonly result?: { readonly value?: number } };
}

/** As much of the inspector's protocol over a WebSocket (RFC 6455) as a collection needs. */
class InspectorSession {
  readonly #socket: Socket;
  readonly #deadline: AbortSignal;
  readonly #workers: string[] = [];
  readonly #answers = new Map<string, Message>();
  #received = Buffer.alloc(0);
  #upgraded = false;
  #lastId = 0;

  private constructor(socket: Socket, deadline: AbortSignal) {
    this.#socket = socket;
    this.#deadline = deadline;
    socket.on('data', (bytes: Buffer) => this.#take(bytes));
    // Noticed by whoever waits for an answer until the deadline.
    socket.on('error', () => undefined);
  }

  static async open(port: number, deadline: AbortSignal): Promise<InspectorSession> {
    const path = await targetPath(port);
    const session = new InspectorSession(connect(port, '127.0.0.1'), deadline);
    session.#socket.write(
      `GET ${path} HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
        `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
    );
    return session;
  }

  async collectAll(): Promise<number> {
    while (!this.#upgraded) await sleep(pollMs, undefined, { signal: this.#deadline });
    await this.#call('NodeWorker.enable', { waitForDebuggerOnStart: false });
    await sleep(settleMs);
    let bytes = await this.#collect((method, params) => this.#call(method, params));
    for (const sessionId of this.#workers) {
      bytes += await this.#collect((method, params) => this.#callWorker(sessionId, method, params));
    }
    return bytes;
  }

  close(): void {
    this.#socket.destroy();
  }

  async #collect(call: (method: string, params: object) => Promise<Message>): Promise<number> {
    await call('HeapProfiler.collectGarbage', {});
    const { result } = await call('Runtime.evaluate', { expression: usage });
    const value = result?.result?.value;
    if (value === undefined) throw new Error(`the inspector does not know ${usage}`);
    return value;
  }

  async #call(method: string, params: object): Promise<Message> {
    this.#lastId += 1;
    const id = this.#lastId;
    this.#send(JSON.stringify({ id, method, params }));
    return await this.#answer(`${id}`);
  }

  async #callWorker(sessionId: string, method: string, params: object): Promise<Message> {
    this.#lastId += 1;
    const message = JSON.stringify({ id: this.#lastId, method, params });
    const key = `${sessionId} ${this.#lastId}`;
    await this.#call('NodeWorker.sendMessageToWorker', { sessionId, message });
    return await this.#answer(key);
  }

  async #answer(key: string): Promise<Message> {
    for (;;) {
      const answer = this.#answers.get(key);
      if (answer !== undefined) return answer;
      await sleep(pollMs, undefined, { signal: this.#deadline });
    }
  }

  /** One masked text frame. */
  #send(text: string): void {
    const payload = Buffer.from(text);
    const mask = randomBytes(4);
    const head = Buffer.alloc(4);
    head.writeUInt8(0x81, 0);
    head.writeUInt8(0x80 | 126, 1);
    head.writeUInt16BE(payload.length, 2);
    for (let at = 0; at < payload.length; at += 1) payload[at] = payload[at]! ^ mask[at % 4]!;
    this.#socket.write(Buffer.concat([head, mask, payload]));
  }

  #take(bytes: Buffer): void {
    this.#received = Buffer.concat([this.#received, bytes]);
    if (this.#received.length > answerBytesMax) this.#socket.destroy();
    if (!this.#upgraded) {
      const end = this.#received.indexOf('\r\n\r\n');
      if (end === -1) return;
      this.#upgraded = true;
      this.#received = this.#received.subarray(end + 4);
    }
    for (let frame = takeFrame(this.#received); frame !== undefined; frame = takeFrame(this.#received)) {
      this.#received = this.#received.subarray(frame.end);
      this.#note(JSON.parse(frame.text));
    }
  }

  #note(message: Message): void {
    const { id, method, params } = message;
    if (id !== undefined) this.#answers.set(`${id}`, message);
    if (params?.sessionId === undefined && method !== 'NodeWorker.attachedToWorker') return;
    const sessionId = params?.sessionId ?? '';
    if (method === 'NodeWorker.attachedToWorker') this.#workers.push(sessionId);
    if (method !== 'NodeWorker.receivedMessageFromWorker') return;
    const inner: Message = JSON.parse(params?.message ?? '{}');
    this.#answers.set(`${sessionId} ${inner.id}`, inner);
  }
}

/** The first whole frame that a server has sent; servers do not mask. */
function takeFrame(bytes: Buffer): { readonly text: string; readonly end: number } | undefined {
  if (bytes.length < 2) return undefined;
  const short = bytes.readUInt8(1) & 0x7f;
  const start = short === 126 ? 4 : short === 127 ? 10 : 2;
  if (bytes.length < start) return undefined;
  const length =
    short === 126 ? bytes.readUInt16BE(2) : short === 127 ? Number(bytes.readBigUInt64BE(2)) : short;
  if (bytes.length < start + length) return undefined;
  return { text: bytes.toString('utf8', start, start + length), end: start + length };
}

function targetPath(port: number): Promise<string> {
  return new Promise((resolve, reject) => {
    get({ host: '127.0.0.1', port, path: '/json/list', timeout: inspectorMsMax }, (response) => {
      let body = '';
      response.setEncoding('utf8').on('data', (text: string) => {
        body += text;
      });
      response.on('end', () => {
        const targets: { readonly id: string }[] = JSON.parse(body);
        resolve(`/${targets[0]!.id}`);
      });
    }).on('error', reject);
  });
}
