import { Command } from '../../nbd/constants.ts';
import type { ServerPhase, UnansweredRequest, UnansweredRequests } from '../../nbd/request-ages.ts';
import type { RemapPhase } from '../../remap/request-phase.ts';
import type { RequestKind, RequestPhase, WaitingRequests } from '../messages.ts';

/** What a device says about a request that it has and has not answered. */
export type PhaseInDevice = (kind: 'read' | 'write' | 'flush', offset: number, length: number) => RemapPhase;

const kindOfCommand: Readonly<Record<number, RequestKind>> = {
  [Command.read]: 'read',
  [Command.write]: 'write',
  [Command.flush]: 'flush',
  4: 'trim',
  5: 'cache',
  6: 'write-zeroes',
  7: 'block-status',
};

const phaseOfServer: Readonly<Record<Exclude<ServerPhase, 'device'>, RequestPhase>> = {
  suspended: 'suspended',
  'connection-limit': 'connection-limit',
  memory: 'waiting-for-memory',
  'earlier-write': 'behind-earlier-write',
  reply: 'replying',
};

/** What the server knows of old requests, with what the device knows of those that it has. */
export function waitingRequests(found: UnansweredRequests, phaseInDevice: PhaseInDevice): WaitingRequests {
  return {
    count: found.count,
    oldest: found.oldest.map((request) => ({
      kind: kindOf(request),
      offset: request.offset,
      length: request.length,
      ageSeconds: request.ageSeconds,
      phase: request.phase === 'device' ? askDevice(request, phaseInDevice) : phaseOfServer[request.phase],
    })),
  };
}

function kindOf({ command }: UnansweredRequest): RequestKind {
  return kindOfCommand[command] ?? 'other';
}

function askDevice(request: UnansweredRequest, phaseInDevice: PhaseInDevice): RequestPhase {
  const kind = kindOf(request);
  if (kind === 'flush') return phaseInDevice('flush', 0, 0);
  const reads = kind === 'read' || kind === 'cache' || kind === 'block-status';
  return phaseInDevice(reads ? 'read' : 'write', request.offset, request.length);
}
