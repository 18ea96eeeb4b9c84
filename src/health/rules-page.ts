import { deviceRules } from './device-rules.ts';
import { diskRules } from './disk-rules.ts';
import type { Step } from './health-rule.ts';

/** The table of all rules as `docs/health.md` has it, Markdown. */
export function rulesTable(): string {
  const lines = [
    '| rule | looks at | lowers the score by | holds it at or below | advises | source |',
    '|---|---|---|---|---|---|',
    ...[...deviceRules, ...diskRules].map(({ id, looksAt, lowers, holds, advises, source }) =>
      [
        '',
        ` \`${id}\` `,
        ` ${looksAt} `,
        ` ${stepsText(lowers, (points) => `${points}`)} `,
        ` ${stepsText(holds, (score) => `${score}`)} `,
        ` ${stepsText(advises, (advice) => advice)} `,
        ` ${source} `,
        '',
      ].join('|'),
    ),
  ];
  return `${lines.join('\n')}\n`;
}

/** `5 from 1, 10 from 64`. */
function stepsText<T>(steps: readonly Step<T>[] | undefined, text: (then: T) => string): string {
  if (steps === undefined || steps.length === 0) return '–';
  return steps.map(([atLeast, then]) => `${text(then)} from ${atLeast}`).join(', ');
}
