import { degradation, degradationTools } from './degradation.ts';
import { fileSystemKinds } from './file-system-kinds.ts';
import { fioOverWear } from './fio-over-wear.ts';
import { memorySoak } from './memory-soak.ts';
import { randomKills } from './random-kills.ts';
import { missingForWornLab } from './worn-lab.ts';

const mebibyte = 1024 * 1024;

export interface Scenario {
  readonly name: string;
  /** What must be installed, as for the `skip` of a test; false when all is there. */
  readonly missing: string | false;
  /** Gives a line of what was seen; rejects when a promise was broken. */
  readonly run: (seed: string, tell: (progress: string) => void) => Promise<string>;
}

const wornPerStage = 50;
const stages = 10;
const kills = 200;
const soakSeconds = 600;
const soakSettleSeconds = 120;
/** In ten minutes. */
const soakSlopeBytesMax = 1_000_000;

/** At full size what `npm test` does in small. */
export const scenarios: readonly Scenario[] = [
  ...([512, 4096] as const).map((blockBytes) => ({
    name: `fio-${blockBytes}`,
    missing: missingForWornLab('fio'),
    run: (seed: string) =>
      fioOverWear({
        seed,
        blockBytes,
        usedBytes: blockBytes === 512 ? 32 * mebibyte : 128 * mebibyte,
        wornMax: 2000,
      }),
  })),
  ...fileSystemKinds.flatMap((kind) =>
    (['A', 'B'] as const).map((run) => ({
      name: `${kind.name}-${run}`,
      missing: missingForWornLab(...degradationTools(kind)),
      run: (seed: string) =>
        degradation({ kind, run, stages, wornPerStage, newBytesPerStage: 12 * mebibyte, seed }),
    })),
  ),
  {
    name: 'kills',
    missing: missingForWornLab('fio'),
    run: (seed, tell) =>
      randomKills({
        rounds: kills,
        seed,
        onRound: (round) => {
          if (round % 20 === 0) tell(`${round} of ${kills}`);
        },
      }),
  },
  {
    name: 'memory',
    missing: missingForWornLab('fio'),
    run: (seed) =>
      memorySoak({ seconds: soakSeconds, settleSeconds: soakSettleSeconds, seed }, soakSlopeBytesMax),
  },
];
