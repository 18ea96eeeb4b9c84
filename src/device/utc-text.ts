/** What a Date holds: 100 000 000 days. */
const dateSecondsMax = 8_640_000_000_000;

/** `2026-01-31 14:05:00 UTC`. A number from a disk may be more than a date can be: then the number. */
export function utcText(unixSeconds: number): string {
  if (unixSeconds > dateSecondsMax) return `${unixSeconds} s after 1970`;
  return `${new Date(unixSeconds * 1000).toISOString().slice(0, -5).replace('T', ' ')} UTC`;
}
