import type { DiskStatus } from '../messages.ts';
import type { OpenedMain } from './disks.ts';

/** One of the disks under a device, for `status`. */
export function diskStatus(disk: OpenedMain): DiskStatus {
  return {
    path: disk.path,
    sizeBytes: disk.device.geometry.sizeBytes,
    model: disk.access === 'table' ? '' : disk.identity.model,
    serial: disk.access === 'table' ? '' : disk.identity.serial,
    access: disk.access,
  };
}
