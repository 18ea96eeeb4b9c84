/** Brings the table of figures in docs/monitoring.md up to date: `npm run build && node dist/test/control/write-metrics-page.js`. */
import { writeFileSync } from 'node:fs';
import { monitoringPagePath, pageWithMetrics } from './metrics-page.ts';

writeFileSync(monitoringPagePath, pageWithMetrics());
