/** How the process ends. The one table of it; `dm-remap help` prints it, scripts may rely on it. */
export const ExitCode = {
  /** Done. */
  ok: 0,
  /** The world went wrong: an I/O error, no answer, anything without a number of its own. */
  failed: 1,
  /** The command line was wrong; nothing was touched. */
  usage: 2,
  /** No such device, disk or file. */
  notFound: 3,
  /** Refused, because it would harm data or could. */
  refused: 4,
  /** Somebody else uses the name, the disk, the file or the device, or the device is not in the state for it; nothing was changed. */
  busy: 5,
  /** Not a dm-remap spare, or its metadata is damaged. */
  notASpare: 6,
  /** A bug of ours (EX_SOFTWARE of sysexits.h). */
  bug: 70,
} as const;
export type ExitCode = (typeof ExitCode)[keyof typeof ExitCode];

/** For `--help`. */
export const exitCodeHelp = `Exit codes:
  0  done                          4  refused: it would harm data, or could
  1  failed                        5  in use, or not in the state for it
  2  the command line is wrong     6  not a dm-remap spare, or damaged metadata
  3  no such device, disk or file  70 a bug of ours`;
