import type * as z from 'zod/mini';
import type { ControlFailureCode } from '../device/messages.ts';
import { healthAnswer } from './health-schema.ts';
import {
  messageAnswer,
  messageBody,
  openFileAnswer,
  openFileBody,
  pingAnswer,
  removeAnswer,
  removeBody,
  stateAnswer,
  statusAnswer,
  suspendBody,
  tableAnswer,
} from './schema.ts';

/** One thing that the control API does. */
export interface Operation {
  readonly method: 'get' | 'post';
  readonly path: string;
  readonly summary: string;
  readonly description: string;
  readonly body?: {
    readonly name: string;
    readonly schema: z.ZodMiniType;
    /** Without one the defaults hold. */
    readonly required: boolean;
  };
  /** Undefined: this document, or a text. */
  readonly answer?: { readonly name: string; readonly schema: z.ZodMiniType };
  /** Media type of an answer that is no JSON. */
  readonly textType?: string;
  /** Codes of failures, besides those that every operation has. */
  readonly failures: readonly ControlFailureCode[];
}

/** Everything that the control API does: what is served, and what the OpenAPI document says. */
export const operations: readonly Operation[] = [
  {
    method: 'get',
    path: '/ping',
    summary: 'Whether the device is there, and in which state',
    description: 'The cheapest question: no disk is looked at.',
    answer: { name: 'Ping', schema: pingAnswer },
    failures: [],
  },
  {
    method: 'get',
    path: '/status',
    summary: 'The state of the device, its disks, its export and its counters',
    description: 'From memory: no disk is asked.',
    answer: { name: 'Status', schema: statusAnswer },
    failures: [],
  },
  {
    method: 'get',
    path: '/health',
    summary: 'How healthy the device and its disks are, looked at now',
    description:
      'Events, table and SMART; a disk that sleeps is not woken. The score goes from 0 to 100, which is healthy. `health` is null where the policy is off.',
    answer: { name: 'Health', schema: healthAnswer },
    failures: ['FAILED'],
  },
  {
    method: 'get',
    path: '/table',
    summary: 'The device-mapper table of the device',
    description: 'Lines as dmsetup prints them; `mainLines` when main is a table itself.',
    answer: { name: 'Table', schema: tableAnswer },
    failures: [],
  },
  {
    method: 'get',
    path: '/metrics',
    summary: 'The same as figures for Prometheus',
    description:
      'From memory: no disk is asked. For a Prometheus server, which scrapes TCP, there is `dm-remap metrics --listen`.',
    textType: 'text/plain',
    failures: [],
  },
  {
    method: 'get',
    path: '/openapi.json',
    summary: 'This document',
    description: 'As docs/control-api.json of the version that serves.',
    failures: [],
  },
  {
    method: 'post',
    path: '/message',
    summary: 'Sends a message to the device',
    description: 'As `dm-remap message NAME SECTOR WORDS`; the words `help` list the messages.',
    body: { name: 'Message', schema: messageBody, required: true },
    answer: { name: 'MessageReply', schema: messageAnswer },
    failures: ['BAD_MESSAGE', 'FAILED'],
  },
  {
    method: 'post',
    path: '/suspend',
    summary: 'Lets clients wait',
    description:
      'Answered when nothing of a client is under way any more, with `flush` also when all of it is durable.',
    body: { name: 'Suspend', schema: suspendBody, required: true },
    answer: { name: 'State', schema: stateAnswer },
    failures: ['FAILED', 'WRONG_STATE'],
  },
  {
    method: 'post',
    path: '/resume',
    summary: 'Ends suspension',
    description: 'When both disks are known to be the same. What had failed as a whole is tried again.',
    answer: { name: 'State', schema: stateAnswer },
    failures: ['FAILED', 'UNSAFE', 'WRONG_STATE'],
  },
  {
    method: 'post',
    path: '/open-file',
    summary: 'Makes a file of the kernel that is the device',
    description:
      'What `dm-remap attach` puts a loop device over. Whoever may look into the process opens `path` within 30 s; the file lives until the last who has it open closes it. One at a time.',
    body: { name: 'OpenFile', schema: openFileBody, required: true },
    answer: { name: 'OpenedFile', schema: openFileAnswer },
    failures: ['FAILED', 'WRONG_STATE', 'IN_USE'],
  },
  {
    method: 'post',
    path: '/remove',
    summary: 'Ends the device',
    description:
      'Answered when its disks are closed; its process ends right after. With `handOver` clients may be connected: they get no answer any more, and send what has none to the process that serves next, as `dm-remap restart` wants it.',
    body: { name: 'Remove', schema: removeBody, required: false },
    answer: { name: 'RemoveReport', schema: removeAnswer },
    failures: ['FAILED', 'WRONG_STATE', 'IN_USE'],
  },
];

/** Methods of a path, upper case; empty for one that is not there. */
export function methodsOf(path: string): readonly string[] {
  const methods = operations
    .filter((operation) => operation.path === path)
    .map(({ method }) => method.toUpperCase());
  return methods.includes('GET') ? [...methods, 'HEAD'] : methods;
}
