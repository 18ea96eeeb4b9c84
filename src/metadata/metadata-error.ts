/**
 * Why the metadata of a spare cannot be used, or a record not be kept. Each message is one line: what was found, what was
 * expected, what helps.
 *
 * - `METADATA_SPARE_TOO_SMALL`      create: the footprint and enough slots do not fit
 * - `METADATA_PROPERTIES_TOO_LARGE` names, identities and policies do not fit the superblock
 * - `METADATA_UNSUITABLE_SPARE`     create, open: the spare's geometry cannot carry the format
 * - `METADATA_CREATE_FAILED`        create: what was written does not read back, or could not be written
 * - `METADATA_NOT_A_SPARE`          open: no superblock of ours at any place
 * - `METADATA_MEMBER`               open: a spare beside the home, which has no table
 * - `METADATA_NEWER_FORMAT`         open: written by a later version of the format
 * - `METADATA_UNKNOWN_FEATURE`      open: an incompatible feature this version does not know
 * - `METADATA_SPARE_SHRUNK`         open: the spare is smaller than at create
 * - `METADATA_MIXED`                open: superblocks of two devices
 * - `METADATA_NO_REPLICA`           open: no in-sync replica has a whole checkpoint
 * - `METADATA_GAP`                  open: the journal continues behind a record that nobody has
 * - `METADATA_CORRUPT`              open: a block with a good checksum says something impossible
 * - `METADATA_UNREADABLE`           open: the spare does not answer (its path, not its sectors)
 * - `METADATA_IN_USE`             open: another process serves from this spare; later: another has taken it over (M11)
 * - `METADATA_SETTLE_FAILED`        settle: no checkpoint could be written; nothing was changed that open needs
 * - `METADATA_MAIN_SHRUNK`          resize: main is smaller than the table is for (M21)
 * - `METADATA_NOT_COMMITTED`        commit: definitely not durable; the data must be written again, to fresh slots
 * - `METADATA_FAILED`               commit: in doubt, or the store stopped; accept no more writes
 * - `METADATA_CLOSED`               commit, flush: after close
 */
export type MetadataErrorCode =
  | 'METADATA_SPARE_TOO_SMALL'
  | 'METADATA_PROPERTIES_TOO_LARGE'
  | 'METADATA_UNSUITABLE_SPARE'
  | 'METADATA_CREATE_FAILED'
  | 'METADATA_NOT_A_SPARE'
  | 'METADATA_MEMBER'
  | 'METADATA_NEWER_FORMAT'
  | 'METADATA_UNKNOWN_FEATURE'
  | 'METADATA_SPARE_SHRUNK'
  | 'METADATA_MIXED'
  | 'METADATA_NO_REPLICA'
  | 'METADATA_GAP'
  | 'METADATA_CORRUPT'
  | 'METADATA_UNREADABLE'
  | 'METADATA_IN_USE'
  | 'METADATA_SETTLE_FAILED'
  | 'METADATA_MAIN_SHRUNK'
  | 'METADATA_NOT_COMMITTED'
  | 'METADATA_FAILED'
  | 'METADATA_CLOSED';

export class MetadataError extends Error {
  override readonly name = 'MetadataError';
  readonly code: MetadataErrorCode;

  constructor(code: MetadataErrorCode, message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
