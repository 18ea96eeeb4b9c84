import { DeviceError } from '../../block/device-error.ts';
import { TargetError } from '../../mapping/target-error.ts';
import { MetadataError } from '../../metadata/metadata-error.ts';
import { MessageError, type MessageErrorCode } from '../../remap/message/message-error.ts';
import { SuspendError } from '../../remap/order/suspension.ts';
import type { ControlFailure, ControlFailureCode } from '../messages.ts';
import { SetupError } from '../setup-error.ts';
import { WrongStateError } from '../wrong-state-error.ts';

const codeOfMessageError: Readonly<Record<MessageErrorCode, ControlFailureCode>> = {
  MESSAGE_FAILED: 'FAILED',
  MESSAGE_SUSPENDED: 'WRONG_STATE',
  MESSAGE_UNKNOWN: 'BAD_MESSAGE',
  MESSAGE_INVALID: 'BAD_MESSAGE',
};

/** What the sender of a message is told. Anything but an error of the world is a bug and is thrown on. */
export function messageFailure(error: unknown): ControlFailure {
  if (error instanceof WrongStateError) return { code: 'WRONG_STATE', message: error.message };
  if (error instanceof MessageError) return { code: codeOfMessageError[error.code], message: error.message };
  if (error instanceof TargetError) return { code: 'BAD_MESSAGE', message: error.message };
  if (error instanceof DeviceError || error instanceof MetadataError) {
    return { code: 'FAILED', message: error.message };
  }
  throw error;
}

/** What somebody is told whose suspending, resuming or removing came to nothing. A bug is thrown on. */
export function stateFailure(error: unknown): ControlFailure {
  if (error instanceof WrongStateError) return { code: 'WRONG_STATE', message: error.message };
  if (error instanceof SetupError) {
    const code = error.reason === 'refused' ? 'UNSAFE' : error.reason === 'busy' ? 'IN_USE' : 'FAILED';
    return { code, message: error.message };
  }
  if (error instanceof SuspendError || error instanceof DeviceError) {
    return { code: 'FAILED', message: error.message };
  }
  throw error;
}
