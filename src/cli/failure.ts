import { AttachError } from '../attach/attach-error.ts';
import { ControlError, type ControlErrorCode } from '../control/client.ts';
import { oneLine, SetupError, type SetupReason } from '../device/setup-error.ts';
import { EngineRefusal } from '../io/engine-refusal.ts';
import { ExitCode } from './exit-code.ts';

const codeOfReason: Readonly<Record<SetupReason, ExitCode>> = {
  usage: ExitCode.usage,
  'not-found': ExitCode.notFound,
  refused: ExitCode.refused,
  busy: ExitCode.busy,
  'not-a-spare': ExitCode.notASpare,
  failed: ExitCode.failed,
};

const codeOfControlError: Readonly<Partial<Record<ControlErrorCode, ExitCode>>> = {
  BAD_MESSAGE: ExitCode.usage,
  UNSAFE: ExitCode.refused,
  BUSY: ExitCode.busy,
};

/** What a command ends with: a code, and one line that says why. */
export interface Failure {
  readonly exitCode: number;
  readonly message: string;
}

/** A daemon that did not start said why; its code and line are passed on as they are. */
export class LaunchError extends Error {
  override readonly name = 'LaunchError';
  readonly exitCode: number;

  constructor(exitCode: number, message: string) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The failure that an error of a command stands for. Whatever nobody expected is a bug of ours. */
export function failureOf(error: unknown): Failure {
  const as = (exitCode: number, message: string): Failure => ({ exitCode, message: oneLine(message) });
  if (error instanceof SetupError) return as(codeOfReason[error.reason], error.message);
  if (error instanceof AttachError) return as(codeOfReason[error.reason], error.message);
  if (error instanceof LaunchError) return as(error.exitCode, error.message);
  if (error instanceof ControlError) {
    return as(codeOfControlError[error.code] ?? ExitCode.failed, error.message);
  }
  if (error instanceof EngineRefusal) {
    return as(error.code === 'ENGINE_UNKNOWN' ? ExitCode.usage : ExitCode.failed, error.message);
  }
  if (isSystemError(error)) return as(ExitCode.failed, error.message);
  const what = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
  return as(
    ExitCode.bug,
    `internal error: ${what}; this is a bug: please report this line, and what you did`,
  );
}

/** An error of the kernel that reached us through Node: no permission on the runtime directory, a full disk. */
function isSystemError(error: unknown): error is Error {
  return error instanceof Error && 'syscall' in error && 'errno' in error;
}
