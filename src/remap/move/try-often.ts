import { asDeviceError, type FailedRange } from '../../block/device-error.ts';
import { transientRetriesMax } from '../request/request-rounds.ts';

/** Does one device request; the failure when it failed. Again after transient errors (R15); what is left of them is one. */
export async function tryOften(step: () => Promise<void>): Promise<FailedRange | undefined> {
  let failure: FailedRange | undefined;
  for (let attempt = 0; attempt <= transientRetriesMax; attempt += 1) {
    failure = await tryOnce(step);
    if (failure?.kind !== 'transient') return failure;
  }
  return failure;
}

export async function tryOnce(step: () => Promise<void>): Promise<FailedRange | undefined> {
  try {
    await step();
    return undefined;
  } catch (error) {
    const failure = asDeviceError(error);
    return failure.ranges[0] ?? { offset: 0, length: 0, kind: failure.kind, errno: failure.errno };
  }
}
