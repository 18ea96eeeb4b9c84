import assert from 'node:assert/strict';
import { type RequestFailure, RequestLane } from '../../src/io/request-lane.ts';

/** The error of a test lane, with all that the engine said. */
export class LaneError extends Error {
  readonly failure: RequestFailure;

  constructor(failure: RequestFailure) {
    super(`errno ${failure.errno}`);
    this.failure = failure;
  }
}

export function laneOn(fd: number, inFlightMax = 256): RequestLane {
  return new RequestLane({
    fd,
    inFlightMax,
    alignmentBytes: 1,
    errorOf: (failure) => new LaneError(failure),
  });
}

export async function failureOf(promise: Promise<unknown>): Promise<RequestFailure> {
  try {
    await promise;
  } catch (error) {
    assert.ok(error instanceof LaneError, String(error));
    return error.failure;
  }
  return assert.fail('the request succeeded');
}
