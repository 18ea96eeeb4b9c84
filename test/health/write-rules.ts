/** Writes the table of rules into docs/health.md: `node dist/test/health/write-rules.js`. */
import { readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { rulesTable } from '../../src/health/rules-page.ts';

const page = fileURLToPath(new URL('../../../docs/health.md', import.meta.url));
const text = readFileSync(page, 'utf8');
const written = text.replace(
  /<!-- rules -->\n.*<!-- \/rules -->/s,
  () => `<!-- rules -->\n${rulesTable()}<!-- /rules -->`,
);
writeFileSync(page, written);
