import { join } from 'node:path';
import { stateDirectory } from '../../device/host/state-directory.ts';
import { oneLine, SetupError } from '../../device/setup-error.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { CheckCode, type CheckResult, checkDevices, type Verdict } from '../watching/check-devices.ts';
import { readCheckMemory, writeCheckMemory } from '../watching/check-memory.ts';
import { lookAtDevices } from '../watching/look-at-devices.ts';

export interface CheckFlags {
  readonly checker?: string;
  readonly grewFor?: string;
  readonly acknowledge?: boolean;
  readonly json?: boolean;
}

const grewForHoursDefault = 24;
const grewForHoursMax = 8_760;
const checkerDefault = 'default';

/** `status [NAME] --check`: one line as plugins of Nagios print it. Resolves to the exit code. */
export async function runStatusCheck(
  terminal: Terminal,
  names: readonly string[],
  flags: CheckFlags,
): Promise<CheckCode> {
  const path = memoryPath(flags.checker ?? checkerDefault);
  const grewForMs = hoursOf(flags.grewFor) * 3_600_000;
  const choice = { nowUnixMs: Date.now(), grewForMs, acknowledge: flags.acknowledge === true, names };
  const look = await lookAtDevices(names);
  const { verdicts } = remembered(path, (before) => checkDevices(look, before, choice));
  const sorted = verdicts.toSorted((one, other) => other.code - one.code);
  const code = sorted[0]?.code ?? CheckCode.healthy;
  if (flags.json === true) printJson(terminal, { code, word: words[code], devices: sorted });
  else terminal.print(checkLine(code, sorted));
  return code;
}

/** A check that cannot remember does not see growth, and must not say that all is well. */
function remembered(
  path: string,
  check: (before: ReturnType<typeof readCheckMemory>) => CheckResult,
): CheckResult {
  let result: CheckResult = check({});
  try {
    result = check(readCheckMemory(path));
    writeCheckMemory(path, result.memory);
    return result;
  } catch (error) {
    if (!(error instanceof Error) || !('code' in error)) throw error;
    const detail = `growth is not seen: ${error.message}`;
    const blind: Verdict = { name: 'check', code: CheckCode.failed, detail, figures: null };
    return { ...result, verdicts: [blind, ...result.verdicts] };
  }
}

const words: Readonly<Record<CheckCode, string>> = { 0: 'OK', 1: 'WARNING', 2: 'CRITICAL', 3: 'FAILED' };

/**
 * `DM-REMAP WARNING - old-disk: 5 granules moved, 3 before, … | 'old-disk moved'=5;;;0 …`: text, a bar, performance data
 * (Monitoring Plugins Development Guidelines).
 */
export function checkLine(code: CheckCode, verdicts: readonly Verdict[]): string {
  const texts = verdicts.map(({ name, detail }) => `${name}: ${detail}`);
  const text = oneLine(texts.length === 0 ? 'no device is served' : texts.join('; ')).replaceAll('|', '/');
  const figures = verdicts.flatMap(({ name, figures: one }) => {
    if (one === null) return [];
    const label = name.replace(/['=|]/g, '_');
    return [
      `'${label} moved'=${one.moved};;;0`,
      `'${label} lost'=${one.lost};;;0`,
      `'${label} spare used'=${one.spareUsedPercent}%;80;90;0;100`,
    ];
  });
  return `DM-REMAP ${words[code]} - ${text}${figures.length === 0 ? '' : ` | ${figures.join(' ')}`}`;
}

function memoryPath(checker: string): string {
  if (!/^[A-Za-z0-9][A-Za-z0-9_.-]{0,63}$/.test(checker)) {
    throw new SetupError(
      'usage',
      `--checker ${checker}: expected letters, digits, "_", "." and "-", at most 64`,
    );
  }
  const directory = stateDirectory();
  if (directory !== undefined) return join(directory, 'checks', `${checker}.json`);
  throw new SetupError('usage', 'there is no folder to remember in: set DM_REMAP_STATE_DIR');
}

function hoursOf(text: string | undefined): number {
  if (text === undefined) return grewForHoursDefault;
  const hours = Number(text);
  if (/^\d+(\.\d+)?$/.test(text) && hours > 0 && hours <= grewForHoursMax) return hours;
  throw new SetupError(
    'usage',
    `--grew-for ${text}: expected hours, more than 0 and at most ${grewForHoursMax}`,
  );
}
