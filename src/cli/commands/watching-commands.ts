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
}
