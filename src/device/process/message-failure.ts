import { DeviceError } from '../../block/device-error.ts';
import { TargetError } from '../../mapping/target-error.ts';
import { MetadataError } from '../../metadata/metadata-error.ts';
import { MessageError } from '../../remap/message/message-error.ts';
import { SuspendError } from '../../remap/order/suspension.ts';
import type { ControlFailure } from '../messages.ts';
import { SetupError } from '../setup-error.ts';

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

/** What somebody is told whose suspending or resuming came to nothing. A bug is thrown on. */
export function stateFailure(error: unknown): ControlFailure {
  if (error instanceof SetupError) {
    return { code: error.reason === 'refused' ? 'UNSAFE' : 'FAILED', message: error.message };
  }
  if (error instanceof SuspendError || error instanceof DeviceError) {
    return { code: 'FAILED', message: error.message };
  }
  throw error;
}
