import { formatBytes } from '../../block/byte-text.ts';
import { examineSpare, type SpareReport } from '../../device/spare/examine-spare.ts';
import { utcText } from '../../device/utc-text.ts';
import { printJson, type Terminal } from '../terminal.ts';

/** `examine DEVICE`: what is on a spare, read only. */
export async function runExamine(
  terminal: Terminal,
  path: string,
  options: { readonly json?: boolean },
): Promise<void> {
  const report = await examineSpare(path);
  if (options.json === true) printJson(terminal, report);
  else terminal.print(examineText(report));
}

export function examineText(report: SpareReport): string {
  const { main } = report;
  const product = [main['model'], main['serial']].filter((text) => text !== undefined).join(' ');
  const rows: [string, string][] = [
    ['uuid', report.uuid],
    ['created', utcText(report.createdUnixSeconds)],
    [
      'main',
      `${main['path'] ?? 'unknown'}${product === '' ? '' : ` (${product})`}, ${formatBytes(report.mainSizeBytes)}`,
    ],
    [
      'spare',
      `${formatBytes(report.spareSizeBytes)}, ${report.slotsTotal} slots of ${report.granuleBytes} bytes`,
    ],
    ['remapped', `${report.remappedGranules} granules (${report.remappedSectors} sectors)`],
    ['lost', `${report.unreadableSectors} sectors unreadable, ${report.goneSectors} gone`],
    [
      'metadata',
      `${report.replicasValid} of ${report.replicasTotal} replicas valid, generation ${report.generation}, last record ${report.lastSequence}`,
    ],
    ['closed', report.cleanlyClosed ? 'cleanly' : 'not cleanly: in use, or its process was killed'],
    ...report.replicaNotes.map((note): [string, string] => ['note', note]),
  ];
  const title = `${report.path}: dm-remap spare of ${report.name}`;
  return [title, ...rows.map(([label, text]) => `  ${label.padEnd(9)} ${text}`)].join('\n');
}
