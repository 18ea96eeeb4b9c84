/** `80 µs`, `1.3 ms`, `27 ms`, `4.2 s`: for people, two digits where there are no more before the point. */
export function durationText(seconds: number): string {
  if (seconds < 0.0009995) return `${Math.round(seconds * 1e6)} µs`;
  if (seconds < 0.9995) return `${digits(seconds * 1000)} ms`;
  return `${digits(seconds)} s`;
}

function digits(value: number): string {
  return value < 9.95 ? value.toFixed(1) : String(Math.round(value));
}
