import type { WorldOutcome } from '../../src/simulator/world/world-outcome.ts';

/** What some worlds were made of, a few lines for people. `cpuSeconds`: of all threads. */
export function summaryText(outcome: WorldOutcome, seconds: number, cpuSeconds: number = seconds): string {
  const { forks } = outcome;
  const cuts = forks.powerCuts + forks.kills;
  return [
    `${outcome.deviceOperations} device operations, ${forks.powerCuts} power cuts, ${forks.kills} kills, ` +
      `${forks.secondLives} of them lived twice, ${forks.refused} refused (${Math.round(cuts / seconds)} a second, ${Math.round(cuts / cpuSeconds)} a second of one core)`,
    `sessions: ${counts(outcome.sessionEnds)}`,
    `requests: ${counts(outcome.requests)}`,
    `failed:   ${counts(outcome.failedRequests)}`,
    `${outcome.remappedGranules} remaps, ${outcome.lostSectors} lost sectors, ${outcome.checkpoints} checkpoints, ` +
      `${outcome.sectorsChecked + forks.sectorsChecked} sectors compared`,
    `main:     ${counts({ ...outcome.mainFaults })}`,
    `spare:    ${counts({ ...outcome.spareFaults })}`,
    `targets:  ${counts(outcome.targetFaults)}; ${outcome.foreignDisks} foreign disks asked ${outcome.foreignReopens} times, ` +
      `${outcome.refusedSpares} lying spares refused`,
    `states:   ${counts(outcome.states)}`,
    `counters: ${counts(outcome.counters)}`,
  ].join('\n');
}

function counts(numbers: Readonly<Record<string, number>>): string {
  return Object.entries(numbers)
    .filter(([, count]) => count > 0)
    .map(([name, count]) => `${name} ${count}`)
    .join(', ');
}
