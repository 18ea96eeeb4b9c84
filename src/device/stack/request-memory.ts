const mib = 1_048_576;

/**
 * Memory for requests of clients, in one piece, so that its half is one request of the largest accepted size (32 MiB, R36).
 * Below the minimum a request of 1 MiB, which clients like, would be more than half of what one connection may have.
 */
export const requestMemory: {
  readonly defaultBytes: number;
  readonly minBytes: number;
  readonly maxBytes: number;
} = { defaultBytes: 64 * mib, minBytes: 4 * mib, maxBytes: 1024 * mib };
