import type { BenchReport, Section } from './report.ts';

const width = 760;
const labelWidth = 250;
const barHeight = 16;
const barGap = 4;
const titleHeight = 26;
const margin = 14;
const valueWidth = 90;

/** A picture of the sections as bars of requests a second, whiskers from the slowest to the fastest round. An SVG document. */
export function reportDrawing(report: BenchReport): string {
  const parts: string[] = [];
  let top = margin;
  for (const section of report.sections) {
    parts.push(...sectionDrawing(section, top));
    top += titleHeight + section.rows.length * (barHeight + barGap) + margin;
  }
  const { cores, processor, kernel, fileSystem } = report.surroundings;
  const foot = `${cores} cores, ${processor}, Linux ${kernel}, ${fileSystem}; medians, whiskers: slowest and fastest round`;
  parts.push(text(margin, top + 10, foot, 'font-size="10" fill="#666"'));
  const height = top + 24;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" viewBox="0 0 ${width} ${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#fff"/>`,
    ...parts,
    '</svg>',
    '',
  ].join('\n');
}

function sectionDrawing(section: Section, top: number): string[] {
  const most = Math.max(...section.rows.map((row) => row.operationsPerSecond.most));
  const scale = (value: number): number => (value / most) * (width - labelWidth - valueWidth - margin);
  const parts = [text(margin, top + 14, `${section.name}, thousand requests a second`, 'font-weight="bold"')];
  for (const [index, row] of section.rows.entries()) {
    const y = top + titleHeight + index * (barHeight + barGap);
    const middle = y + barHeight / 2;
    const { median, least, most: fastest } = row.operationsPerSecond;
    const colour = row.contestant.startsWith('dm-remap') ? '#2a6f97' : '#b0b7bd';
    parts.push(
      text(labelWidth - 6, middle + 4, row.contestant, 'text-anchor="end"'),
      `<rect x="${labelWidth}" y="${y}" width="${scale(median).toFixed(1)}" height="${barHeight}" fill="${colour}"/>`,
      `<path d="M${(labelWidth + scale(least)).toFixed(1)} ${middle}H${(labelWidth + scale(fastest)).toFixed(1)}" stroke="#222" stroke-width="1.5"/>`,
      text(
        labelWidth + scale(fastest) + 6,
        middle + 4,
        `${(median / 1000).toFixed(1)}${row.clientBound ? ' *' : ''}`,
        '',
      ),
    );
  }
  return parts;
}

function text(x: number, y: number, words: string, attributes: string): string {
  const safe = words.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
  return `<text x="${x.toFixed(1)}" y="${y.toFixed(1)}" ${attributes}>${safe}</text>`;
}
