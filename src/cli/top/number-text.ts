const byteUnits = ['B', 'KiB', 'MiB', 'GiB', 'TiB'] as const;
const countUnits = ['', 'k', 'M', 'G'] as const;

/** `0`, `0.4`, `37`, `1234`, `12.3k`: at most five characters up to a billion. */
export function rateText(perSecond: number): string {
  if (perSecond === 0) return '0';
  if (perSecond < 9.95) return perSecond.toFixed(1);
  if (perSecond < 9999.5) return perSecond.toFixed(0);
  return scaled(perSecond, 1000, countUnits, '');
}

/** `0 B/s`, `512 B/s`, `4.8 MiB/s`. */
export function bytesRateText(perSecond: number): string {
  return `${scaled(perSecond, 1024, byteUnits, ' ')}/s`;
}

function scaled(value: number, step: number, units: readonly string[], gap: string): string {
  let rest = value;
  let unit = 0;
  while (rest >= step * 0.9995 && unit < units.length - 1) {
    rest /= step;
    unit += 1;
  }
  const text = unit === 0 ? rest.toFixed(0) : figure(rest);
  return `${text}${gap}${units[unit]}`;
}

function figure(value: number): string {
  return value < 9.95 ? value.toFixed(1) : value.toFixed(0);
}
