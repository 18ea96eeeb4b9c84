import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { deviceFamilies } from '../../src/control/metrics/device-metrics.ts';
import { newCounters } from '../../src/remap/remap-counters.ts';
import { exampleStatus } from './example-status.ts';

export const monitoringPagePath: string = fileURLToPath(
  new URL('../../../docs/monitoring.md', import.meta.url),
);

/** The page with its table of figures as the program tells them. */
export function pageWithMetrics(page: string = readFileSync(monitoringPagePath, 'utf8')): string {
  return page.replace(/(<!-- metrics -->\n).*?(<!-- \/metrics -->)/s, `$1${metricsTable()}$2`);
}

function metricsTable(): string {
  const remap = { ...exampleStatus.remap, counters: { ...newCounters() } };
  const rows = deviceFamilies([{ ...exampleStatus, remap }]).map(({ name, type, help, samples }) => {
    const labels = [...new Set(samples.flatMap((sample) => Object.keys(sample.labels)))].filter(
      (label) => label !== 'device' && label !== 'le',
    );
    const words = labels.map((label) => `\`${label}\``).join(', ');
    return `| \`${name.replace('dm_remap_', '')}\` | ${type} | ${words} | ${help} |\n`;
  });
  return `| name | type | labels | |\n|---|---|---|---|\n${rows.join('')}`;
}
