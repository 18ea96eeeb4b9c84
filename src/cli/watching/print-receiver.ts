import type { Terminal } from '../terminal.ts';
import type { Alert } from './alert.ts';
import type { Receiver } from './delivery.ts';

/** Standard output; under systemd that is the journal, which has limits of its own. */
export function printReceiver(terminal: Terminal, json: boolean): Receiver {
  return {
    name: 'standard output',
    joins: true,
    burst: Number.MAX_SAFE_INTEGER,
    refillMs: 1,
    deliver: (alerts: readonly Alert[], omitted: number) => {
      for (const alert of alerts) {
        if (json) terminal.print(JSON.stringify(jsonOf(alert)));
        else terminal.print(lineOf(alert));
      }
      if (omitted > 0) terminal.warn(`dm-remap: monitor: ${omitted} more alerts: dm-remap events`);
      return Promise.resolve();
    },
  };
}

function lineOf({ unixMs, level, device, kind, text }: Alert): string {
  return `${new Date(unixMs).toISOString()} ${level.padEnd(5)} ${device}: ${kind}: ${text}`;
}

function jsonOf({ unixMs, device, uuid, kind, level, text }: Alert): Readonly<Record<string, string>> {
  return { time: new Date(unixMs).toISOString(), device, uuid, kind, level, text };
}
