import { readFileSync } from 'node:fs';

/** The version in the package's own package.json: beside `dist` in a package, beside `src` when run from sources. */
export function packageVersion(): string {
  for (const place of ['../../../package.json', '../../package.json']) {
    try {
      const parsed: unknown = JSON.parse(readFileSync(new URL(place, import.meta.url), 'utf8'));
      if (typeof parsed === 'object' && parsed !== null && 'version' in parsed) return String(parsed.version);
    } catch {
      // Not there: the other place.
    }
  }
  return 'unknown';
}
