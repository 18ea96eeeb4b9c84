import { readFileSync } from 'node:fs';
import { hostname } from 'node:os';
import process from 'node:process';
import type { HostIdentity } from '../../metadata/metadata-store.ts';
import { identityOfProcess } from '../process/process-identity.ts';

/** Where Linux keeps the id of an installation (man 5 machine-id); the second is older. */
const machineIdPaths = ['/etc/machine-id', '/var/lib/dbus/machine-id'];

/** This process, as it marks a spare that it serves from (M11). Undefined without /proc. */
export function ownHostIdentity(): HostIdentity | undefined {
  const self = identityOfProcess(process.pid);
  if (self === undefined) return undefined;
  return {
    machineId: readMachineId(machineIdPaths),
    bootId: self.bootId.replaceAll('-', ''),
    pid: self.pid,
    startTicks: self.startTicks,
    hostName: hostname(),
    isRunning: ({ pid, startTicks }) => identityOfProcess(pid)?.startTicks === startTicks,
  };
}

/** 32 hexadecimal digits of the first file that has them; empty when none has, as in many containers. */
export function readMachineId(paths: readonly string[]): string {
  for (const path of paths) {
    try {
      const text = readFileSync(path, 'latin1').trim();
      if (/^[0-9a-f]{32}$/.test(text) && !/^0+$/.test(text)) return text;
    } catch {
      // Not there: the next one.
    }
  }
  return '';
}
