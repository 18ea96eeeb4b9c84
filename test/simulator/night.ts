/** Seeds of one night: more than any machine runs, and no other night's. */
export const seedsOfNight = 100_000;

const dayMs = 86_400_000;
const firstDayMs = Date.UTC(2026, 0, 1);

export interface Night {
  readonly date: string;
  readonly firstSeed: number;
  readonly seeds: number;
}

/** The seeds of a date, YYYY-MM-DD; undefined for anything else. */
export function nightOf(date: string): Night | undefined {
  const atMs = Date.parse(`${date}T00:00:00Z`);
  const isDate = !Number.isNaN(atMs) && new Date(atMs).toISOString().startsWith(date);
  if (!isDate || date.length !== 10 || atMs < firstDayMs) return undefined;
  const day = (atMs - firstDayMs) / dayMs;
  return { date, firstSeed: day * seedsOfNight + 1, seeds: seedsOfNight };
}
