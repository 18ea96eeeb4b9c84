import { isAttached, readAttachment } from '../../attach/attachment-record.ts';
import type { AttachmentStatus } from '../messages.ts';

/** Where a device is attached, by its record and by what the kernel says; from files in memory, no device is opened. */
export function attachmentStatus(runtimeDirectory: string, name: string): AttachmentStatus | null {
  const attachment = readAttachment(runtimeDirectory, name);
  if (attachment === undefined || !isAttached(attachment)) return null;
  const { kind, deviceName, readOnly, queueSeconds } = attachment;
  return { kind, device: `/dev/${deviceName}`, readOnly, queueSeconds };
}
