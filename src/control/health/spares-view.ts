/** What the message `spare` says that a status does not. */
export interface SparesView {
  /** When all spares are full, if it goes on like the last week; null when nothing grows. */
  readonly fullInDays: number | null;
  /** Paths of the spares beside the one that carries the metadata. */
  readonly morePaths: readonly string[];
}

/** Spares beside the first that are looked at; a device has no more. */
const morePathsMax = 16;

/** Reads the reply; its lines are those of `device/stack/spare-roster.ts` and `remap/message/message-spare.ts`. */
export function sparesView(reply: string): SparesView {
  const days = /^full-in-days (\d+)$/m.exec(reply)?.[1];
  const more = [...reply.matchAll(/^one spare-\d+ \S+(?: \d+){5} (.+)$/gm)].map(([, path = '']) => path);
  return {
    fullInDays: days === undefined ? null : Number(days),
    morePaths: more.slice(0, morePathsMax),
  };
}
