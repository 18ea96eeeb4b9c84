/**
 * A request without an answer for this long is stuck: longer than the error recovery of a drive that has a limit for it (7 s),
 * shorter than what file systems call a hung task (120 s).
 */
export const stuckAfterSeconds = 10;

/** The oldest so many are told by name; the others are counted. */
export const stuckListedMax = 8;
