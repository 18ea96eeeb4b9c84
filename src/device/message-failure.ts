import { DeviceError } from '../block/device-error.ts';
import { TargetError } from '../mapping/target-error.ts';
import { MetadataError } from '../metadata/metadata-error.ts';
import { MessageError } from '../remap/message-error.ts';
import type { ControlFailure } from './messages.ts';

/** What the sender of a message is told. Anything but an error of the world is a bug and is thrown on. */
export function messageFailure(error: unknown): ControlFailure {
  if (error instanceof MessageError) {
    const code = error.code === 'MESSAGE_FAILED' ? 'FAILED' : 'BAD_MESSAGE';
    return { code, message: error.message };
  }
  if (error instanceof TargetError) return { code: 'BAD_MESSAGE', message: error.message };
  if (error instanceof DeviceError || error instanceof MetadataError) {
    return { code: 'FAILED', message: error.message };
  }
  throw error;
}
