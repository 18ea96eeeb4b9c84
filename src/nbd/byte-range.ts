/** Bytes `offset` to `end`, without `end`. */
export interface ByteRange {
  readonly offset: number;
  readonly end: number;
}
