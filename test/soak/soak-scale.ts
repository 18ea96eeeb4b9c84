const mebibyte = 1024 * 1024;
/** Runs below this are for continuous integration. */
export const longRunSeconds = 300;

/** How much and how often. */
export interface SoakScale {
  /** Of the writers that know the version of each sector; the rest is fio's. */
  readonly ownBytes: number;
  readonly fioBytes: number;
  readonly spareBytes: number;
  readonly sampleSeconds: number;
  readonly eventIntervalMsMax: number;
  readonly badRunsPerEvent: number;
  /** Below the path-timeout of 15 s, after which requests fail (R17). */
  readonly awayMsMax: number;
}

/** A run of seconds fills and verifies a small disk, and lets it age fast. */
const smallScale: SoakScale = {
  ownBytes: 8 * mebibyte,
  fioBytes: 24 * mebibyte,
  spareBytes: 24 * mebibyte,
  sampleSeconds: 1,
  eventIntervalMsMax: 600,
  badRunsPerEvent: 16,
  awayMsMax: 1000,
};

const longScale: SoakScale = {
  ownBytes: 32 * mebibyte,
  fioBytes: 96 * mebibyte,
  spareBytes: 64 * mebibyte,
  sampleSeconds: 5,
  eventIntervalMsMax: 3000,
  badRunsPerEvent: 3,
  awayMsMax: 6000,
};

export function scaleOf(seconds: number): SoakScale {
  return seconds < longRunSeconds ? smallScale : longScale;
}
