import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { deviceFamilies } from '../../src/control/metrics/device-metrics.ts';
import { newCounters } from '../../src/remap/remap-counters.ts';
import { missingTool, runTool } from '../end-to-end/foreign-tool.ts';
import { exampleStatus } from './example-status.ts';
import { monitoringPagePath, pageWithMetrics } from './metrics-page.ts';

const folder = fileURLToPath(new URL('../../../docs/monitoring/', import.meta.url));
const read = (name: string): string => readFileSync(join(folder, name), 'utf8');

let scratch: string;

before(() => {
  scratch = mkdtempSync(join(tmpdir(), 'dm-remap-rules-'));
});

after(() => rmSync(scratch, { recursive: true }));

interface Dashboard {
  readonly panels: readonly {
    readonly title: string;
    readonly gridPos: { readonly x: number; readonly y: number; readonly w: number; readonly h: number };
    readonly targets: readonly { readonly expr: string }[];
  }[];
  readonly templating: { readonly list: readonly { readonly definition?: string }[] };
}

const dashboard: Dashboard = JSON.parse(read('grafana-dashboard.json'));
const dashboardQueries = dashboard.panels.flatMap(({ targets }) => targets.map(({ expr }) => expr));
const alertQueries = [...read('alerts.yml').matchAll(/^ {8}expr: (.+)$/gm)].map(([, query]) => query!);

/** Every name that a device can tell, with the values of each label; of a histogram also its three parts. */
function toldSeries(): ReadonlyMap<string, ReadonlyMap<string, ReadonlySet<string>>> {
  const remap = { ...exampleStatus.remap, counters: { ...newCounters() } };
  const told = new Map<string, Map<string, Set<string>>>();
  for (const { name, samples } of deviceFamilies([{ ...exampleStatus, remap }])) {
    for (const { labels, suffix } of samples) {
      const values = told.get(`${name}${suffix ?? ''}`) ?? new Map<string, Set<string>>();
      told.set(`${name}${suffix ?? ''}`, values);
      for (const [label, value] of Object.entries(labels)) {
        values.set(label, (values.get(label) ?? new Set()).add(value));
      }
    }
  }
  return told;
}

/** Everything in a query that is about our figures: the name, and what it wants of labels. */
function selectorsOf(query: string): readonly (readonly [name: string, matchers: string])[] {
  return [...query.matchAll(/\b(dm_remap_\w+)(?:\{([^}]*)\})?/g)].map(([, name, matchers]) => [
    name!,
    matchers ?? '',
  ]);
}

function assertTold(query: string): void {
  const told = toldSeries();
  const selectors = selectorsOf(query);
  assert.ok(selectors.length > 0, query);
  for (const [name, matchers] of selectors) {
    const labels = told.get(name);
    assert.ok(labels !== undefined, `${name}: nobody tells it: ${query}`);
    for (const [, label, operator, text] of matchers.matchAll(/(\w+)(=~|!~|!=|=)"([^"]*)"/g)) {
      const values = labels.get(label!);
      assert.ok(values !== undefined, `${name} has no label ${label}: ${query}`);
      if (text!.startsWith('$')) continue;
      const wanted = operator!.endsWith('~') ? text!.split('|') : [text!];
      for (const word of wanted) {
        const known = values.has(word) || (label === 'counter' && word === 'link_errors');
        assert.ok(known, `${name} is never of ${label} "${word}": ${query}`);
      }
    }
  }
}

test('every query of the dashboard and of the alerts asks for figures, labels and words that there are', () => {
  assert.ok(dashboardQueries.length >= 15 && alertQueries.length >= 15);
  for (const query of [...dashboardQueries, ...alertQueries]) assertTold(query);
  assert.throws(() => assertTold('rate(dm_remap_requests[5m])'), /nobody tells it/);
  assert.throws(() => assertTold('dm_remap_state{state="broken"}'), /never of state "broken"/);
  assert.throws(() => assertTold('dm_remap_up{name="x"}'), /no label name/);
});

test('docs/monitoring.md lists the figures as they are told', () => {
  const page = readFileSync(monitoringPagePath, 'utf8');
  const wanted = pageWithMetrics(page);
  assert.equal(page, wanted, 'run: node dist/test/control/write-metrics-page.js');
});

test('the panels of the dashboard lie beside each other, and have titles of their own', () => {
  const cells = new Set<string>();
  for (const { gridPos, title } of dashboard.panels) {
    assert.ok(gridPos.x + gridPos.w <= 24, title);
    for (let x = gridPos.x; x < gridPos.x + gridPos.w; x += 1) {
      for (let y = gridPos.y; y < gridPos.y + gridPos.h; y += 1) {
        assert.ok(!cells.has(`${x} ${y}`), `${title} lies over another`);
        cells.add(`${x} ${y}`);
      }
    }
  }
  assert.equal(new Set(dashboard.panels.map(({ title }) => title)).size, dashboard.panels.length);
  const [definition] = dashboard.templating.list.flatMap((one) => one.definition ?? []);
  assert.equal(definition, 'label_values(dm_remap_up, device)');
});

test('every alert has a test that sees it fire', () => {
  const alerts = [...read('alerts.yml').matchAll(/^ {6}- alert: (\w+)$/gm)].map(([, name]) => name!);
  assert.equal(alerts.length, alertQueries.length);
  const fired = [...read('alerts-test.yml').matchAll(/alertname: (\w+)\n +exp_alerts:\n/g)].map(
    ([, name]) => name!,
  );
  assert.deepEqual(new Set(fired), new Set(alerts));
});

test('promtool takes the rules and every query of the dashboard, and the rules fire when they should', {
  skip: missingTool('promtool'),
}, async () => {
  const rules = dashboardQueries.map(
    (query, at) =>
      `  - record: dashboard:query${at}\n    expr: ${JSON.stringify(query.replaceAll('$__rate_interval', '5m'))}`,
  );
  const path = join(scratch, 'dashboard.yml');
  writeFileSync(path, `groups:\n- name: dashboard\n  rules:\n${rules.join('\n')}\n`);
  const [checked, tested] = await Promise.all([
    runTool('promtool', 'check', 'rules', join(folder, 'alerts.yml'), path),
    runTool('promtool', 'test', 'rules', join(folder, 'alerts-test.yml')),
  ]);
  assert.equal(checked.status, 0, checked.output);
  assert.match(checked.output, new RegExp(`SUCCESS: ${alertQueries.length} rules found`));
  assert.match(checked.output, new RegExp(`SUCCESS: ${dashboardQueries.length} rules found`));
  assert.equal(tested.status, 0, tested.output);
});
