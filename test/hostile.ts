import { performance } from 'node:perf_hooks';
import process from 'node:process';
import { parseArgs } from 'node:util';
import { HeapWatch } from './nbd/hostile/heap-watch.ts';
import type { HostileOutcome } from './nbd/hostile/hostile-run.ts';
import { withMemoryServer, withSocketServer } from './nbd/hostile/hostile-servers.ts';
import { HostileFailure, runBoundaries, runMutations } from './nbd/hostile/hostile-stages.ts';

const usage = `npm run hostile -- [--messages N] [--seed S] [--from N]

Clients that send N mutated messages to a server in memory, N / 10 over a socket, and good ones cut at every byte. After each
the disk, the replies and the server's memory are judged, beside a client that keeps working. A failure is printed with the line
that repeats its conversation, and ends with exit code 1; wrong arguments end with 2.`;

const boundaryConversations = 8;
const boundaryRequests = 5;

const options = readOptions();
if (options.help) console.log(usage);
else await run(Number(options.messages), Number(options.seed), Number(options.from));

function readOptions(): { messages: string; seed: string; from: string; help: boolean } {
  try {
    const { values } = parseArgs({
      options: {
        messages: { type: 'string', default: '100000' },
        seed: { type: 'string', default: '1' },
        from: { type: 'string', default: '0' },
        help: { type: 'boolean', default: false },
      },
    });
    for (const name of ['messages', 'seed', 'from'] as const) {
      if (!/^\d{1,9}$/.test(values[name])) refuse(`--${name} is '${values[name]}', expected a whole number`);
    }
    return values;
  } catch (error) {
    const message = error instanceof Error ? error.message.split('\n')[0] : String(error);
    return refuse(`${message} (--help tells what there is)`);
  }
}

function refuse(message: string): never {
  console.error(`hostile: ${message}`);
  process.exit(2);
}

async function run(messages: number, seed: number, from: number): Promise<void> {
  try {
    const heap = new HeapWatch(messages);
    await stage('mutated, in memory', () =>
      withMemoryServer(`${seed}`, (target) =>
        runMutations(target, { seed, from, messages, onConversation: (each) => heap.look(each) }),
      ),
    );
    heap.judge();
    if (from > 0) return;
    const fewer = Math.ceil(messages / 10);
    await stage('mutated, over a socket', () =>
      withSocketServer(`${seed}`, (target) => runMutations(target, { seed, from, messages: fewer })),
    );
    await stage('cut at every byte', () =>
      withMemoryServer(`${seed}`, (target) =>
        runBoundaries(target, { seed, conversations: boundaryConversations, requests: boundaryRequests }),
      ),
    );
  } catch (error) {
    console.error(error instanceof HostileFailure ? `${error.message}\n` : '', error);
    process.exitCode = 1;
  }
}

async function stage(name: string, body: () => Promise<HostileOutcome>): Promise<void> {
  const startMs = performance.now();
  const startCpu = process.cpuUsage();
  const outcome = await body();
  const { user, system } = process.cpuUsage(startCpu);
  const seconds = ((performance.now() - startMs) / 1000).toFixed(1);
  const cpuSeconds = ((user + system) / 1e6).toFixed(1);
  console.log(`${name}: ${seconds} s, ${cpuSeconds} s of processor`);
  for (const [what, count] of Object.entries(outcome)) console.log(`  ${what.padEnd(16)} ${count}`);
}
