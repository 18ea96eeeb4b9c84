const units = ['bytes', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'] as const;

/** `27 MiB`, `13.7 MiB`, `512 bytes`: for people, in binary units; a digit behind the point where it is not exact. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${Number.isInteger(value) ? value : value.toFixed(1)} ${units[unit]}`;
}

/** `64 MiB`, `931.5 GiB (1000204886016 bytes)`: where the last byte matters. */
export function formatExactBytes(bytes: number): string {
  const text = formatBytes(bytes);
  return text.includes('.') ? `${text} (${bytes} bytes)` : text;
}
