import { resolve } from 'node:path';
import { SetupError } from '../../device/setup-error.ts';
import type { Alert } from './alert.ts';
import type { Receiver } from './delivery.ts';
import { isProgram } from './mail-receiver.ts';
import { runOperatorProgram } from './run-program.ts';

/** Twenty in a row, then one a minute: what came meanwhile is one call with the kind `several`. */
const programBurst = 20;
const programRefillMs = 60_000;

/** Runs a program with the words KIND DEVICE TEXT. Throws `SetupError` where there is none. */
export function programReceiver(path: string): Receiver {
  const program = resolve(path);
  if (!isProgram(program))
    throw new SetupError('not-found', `--program ${path}: is not there, or may not be run`);
  return {
    name: `program ${program}`,
    joins: false,
    burst: programBurst,
    refillMs: programRefillMs,
    deliver: (alerts: readonly Alert[], omitted: number) => {
      const [first, ...more] = alerts;
      if (first === undefined) return Promise.resolve();
      const words =
        more.length + omitted === 0
          ? [first.kind, first.device, first.text]
          : ['several', devicesText(alerts), severalText(alerts, omitted)];
      return runOperatorProgram(program, words, {
        environment: {
          DM_REMAP_LEVEL: alerts.some(({ level }) => level === 'error') ? 'error' : first.level,
          DM_REMAP_TIME: new Date(first.unixMs).toISOString(),
          DM_REMAP_UUID: more.length === 0 ? first.uuid : '',
        },
      });
    },
  };
}

function devicesText(alerts: readonly Alert[]): string {
  return [...new Set(alerts.map(({ device }) => device))].join(',');
}

/** `12 alerts came too fast to be told one by one: 10 remapped, 2 gone`. */
function severalText(alerts: readonly Alert[], omitted: number): string {
  const counts = new Map<string, number>();
  for (const { kind } of alerts) counts.set(kind, (counts.get(kind) ?? 0) + 1);
  const kinds = [...counts].map(([kind, count]) => `${count} ${kind}`);
  if (omitted > 0) kinds.push(`${omitted} others`);
  return `${alerts.length + omitted} alerts came too fast to be told one by one: ${kinds.join(', ')}`;
}
