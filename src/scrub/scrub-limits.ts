/** One read while nobody else wants the disks: large enough that a rotating disk spends its time reading. */
export const idleReadBytes: number = 1024 * 1024;
/** One read while clients work: what a client waits for behind it is 1 ms of a disk that gives 128 MiB a second. */
export const busyReadBytes: number = 128 * 1024;
/** Without a request of a client for so long the disks are idle. */
export const idleAfterMs = 500;
/** Of the time in which clients work this share at most is spent in reads of a scrub. */
export const busyShare = 0.1;
/** Between two reads while clients work, at least: fast disks need no wake-up every millisecond. */
export const busyPauseMsMin = 5;
/** A timer comes late: of a rate's arrears so many milliseconds are made up for, and no more. */
export const arrearsMsMax = 100;
/** The first look again at what keeps a scrub from reading, and the last: twice as long each time. */
export const troublePauseMs = 1_000;
export const troublePauseMsMax = 60_000;
/** So many reads in a row, none of which came whole: that is no disk with bad sectors, and reading on may cost it the rest. */
export const failedInRowMax = 32;
/** The position is stored so often while a pass runs: a crash costs as much reading again, and no more writes of the spare. */
export const saveIntervalMs = 600_000;
/** An operator waits for the store no longer. */
export const saveWaitMs = 3_000;
/** Behind opening, before reading goes on where the last session ended. */
export const resumeDelayMs = 10_000;
/** A schedule is looked at this often. */
export const scheduleLookMs = 3_600_000;
/** Ends of passes that are kept on the spare. */
export const passesKeptMax = 8;
/** Chunks without anything to read that are passed by in one turn of the event loop. */
export const emptyChunksPerTurn = 64;
/** Reads that seemed slow and wait for a second look. When there are more, all are looked at again first. */
export const slowSuspectsMax = 64;
/** Bytes read elsewhere before a slow read is tried again: above any drive's cache, which would answer in its place. */
export const slowConfirmAfterBytes: number = 512 * 1024 * 1024;
/** Reads that must have been seen before any is called slow. */
export const baselineReadsMin = 32;
/** So many times the median, and above the policy's `slow-read-ms`. */
export const slowFactor = 8;
