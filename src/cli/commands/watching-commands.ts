import type { Command } from 'commander';
import type { Terminal } from '../terminal.ts';
import { examples } from './examples.ts';

/** What watches devices for somebody who is not there: see docs/monitoring.md. */
export function addWatchingCommands(program: Command, terminal: Terminal): void {
  program
    .command('metrics')
    .description(
      'print the figures of the devices for Prometheus, write them to a file for the textfile collector of node_exporter, or serve them',
    )
    .summary('figures of the devices for Prometheus')
    .argument('[NAME...]')
    .option('--listen <HOST:PORT>', 'serve /metrics there, until interrupted')
    .option('--textfile <FILE>', 'write them to this file, which appears whole')
    .addHelpText(
      'after',
      examples(
        'metrics',
        'metrics old-disk',
        'metrics --listen 127.0.0.1:19809',
        'metrics --textfile /var/lib/prometheus/node-exporter/dm-remap.prom',
      ),
    )
    .action(async (names, options) => {
      await (await import('../verbs/metrics.ts')).runMetrics(terminal, names, options);
    });
  program
    .command('monitor')
    .description(
      'tell somebody what happens to devices: on standard output, by mail, by a program of yours; until interrupted',
    )
    .summary('tell somebody what happens to devices')
    .argument('[NAME...]')
    .option('--scan', 'all devices, also those that come later (as without a NAME)')
    .option('--mail <ADDRESS>', 'by mail; several addresses with commas between them')
    .option('--program <FILE>', 'run this with the words KIND DEVICE TEXT, once for each alert')
    .option('--interval <SECONDS>', 'how often to look (default: 10)')
    .option('--oneshot', 'look once, tell what came since the last look, and end')
    .option('--test', 'first tell of each device a test')
    .option('--state <FILE>', "what was told already (default: in this host's memory of devices)")
    .option('--json', 'on standard output a JSON object each')
    .addHelpText(
      'after',
      examples(
        'monitor --mail root',
        'monitor old-disk --program /usr/local/bin/tell-me',
        'monitor --oneshot --mail admin@example.org',
        'monitor --oneshot --test --mail root',
      ),
    )
    .action(async (names, options) => {
      await (await import('../verbs/monitor.ts')).runMonitor(terminal, names, options);
    });
}
