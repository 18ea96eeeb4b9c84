import { payloadBytesMax } from './constants.ts';

/** Bounds of one connection and of a server; each says what happens when it is reached. */
export interface NbdLimits {
  /** Open connections; one more is told so in its handshake, and counted. */
  readonly connectionsMax: number;
  /** Clients that are being told so; one more is closed as soon as it is accepted. */
  readonly refusalsMax: number;
  /** A client that was told why it is not served has left by then, else it is cut off. */
  readonly refusalTimeoutMs: number;
  /** Requests of one connection that are taken and not yet answered; at the limit nothing more is parsed. */
  readonly requestsInFlightMax: number;
  /**
   * Payload bytes of one connection's requests in flight; at the limit nothing more is parsed. A single request above
   * it is served when it is the only one.
   */
  readonly bytesInFlightMax: number;
  /** Longest single request to the device; a longer client request is split, its parts run side by side. */
  readonly deviceRequestBytesMax: number;
  /** A shorter write payload passes through the receive buffer and is copied; from here on it is received in place. */
  readonly directPayloadBytesMin: number;
  /** Memory of a connection for incoming bytes, whole pages. */
  readonly receiveBufferBytes: number;
  /** A client must have finished its handshake by then, however many bytes it sends meanwhile, else it is dropped. */
  readonly handshakeTimeoutMs: number;
  /**
   * A client that has begun a request must have sent all of it by then, and must have taken a batch of replies by then, else
   * it is dropped: it holds memory that others need. Added to it is the time that the bytes take at `clientBytesPerSecondMin`.
   * A client that owes nothing may be idle for ever.
   */
  readonly stallTimeoutMs: number;
  /** The slowest line that is put up with, half a megabit a second. */
  readonly clientBytesPerSecondMin: number;
  /** After `close` a connection ends once nothing has come from it for this long and all is answered. */
  readonly shutdownQuietMs: number;
  /** For this long after `close` what comes is answered ESHUTDOWN; then nothing more is read. */
  readonly shutdownRefusingMs: number;
}

/** A write whose payload is above this is cut off instead of being received and thrown away. */
export const discardedPayloadBytesMax: number = 2 * payloadBytesMax;

/** Options with more data are answered TOO_BIG; two strings of the longest kind fit. */
export const optionBytesMax = 8192;

/** Options with more data than this are garbage: the client is dropped instead of being read to the end. */
export const discardedOptionBytesMax: number = 1024 * 1024;

/** Options of one handshake; real clients send fewer than ten. More, and the client is dropped. */
export const optionCountMax = 64;

/** Notes about garbage from clients that are passed on in one minute; the rest is only counted. */
export const protocolNotesPerMinuteMax = 6;

export const defaultNbdLimits: NbdLimits = {
  connectionsMax: 32,
  refusalsMax: 8,
  refusalTimeoutMs: 5_000,
  // 256 headers of 28 bytes are two pages, and 512 parts are half of what one sendmsg takes (IOV_MAX 1024).
  requestsInFlightMax: 256,
  // nbdcopy keeps 64 requests of 256 KiB in flight.
  bytesInFlightMax: 16 * 1024 * 1024,
  deviceRequestBytesMax: 1024 * 1024,
  directPayloadBytesMin: 64 * 1024,
  // With the pages for headers a connection has 128 KiB, a power of two: 29 writes of 4 KiB in one receive.
  receiveBufferBytes: 120 * 1024,
  handshakeTimeoutMs: 30_000,
  stallTimeoutMs: 120_000,
  clientBytesPerSecondMin: 64 * 1024,
  // A client on this machine sends what waits in its socket within this, when there is room.
  shutdownQuietMs: 100,
  shutdownRefusingMs: 2_000,
};
