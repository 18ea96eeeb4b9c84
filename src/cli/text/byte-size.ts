const factors: Readonly<Record<string, number>> = {
  '': 1,
  K: 1024,
  M: 1024 ** 2,
  G: 1024 ** 3,
  T: 1024 ** 4,
};

/** Bytes of `64M`, `64MiB` or `67108864`; undefined for anything else, fractions and zero too. */
export function parseBytes(text: string): number | undefined {
  const match = /^(\d{1,16})(?:([KMGT])(?:iB)?)?$/.exec(text);
  if (match === null) return undefined;
  const bytes = Number(match[1]) * factors[match[2] ?? '']!;
  return Number.isSafeInteger(bytes) && bytes > 0 ? bytes : undefined;
}
