import { execFile } from 'node:child_process';

const answerDeadlineMs = 5_000;

/**
 * Whether systemd stops this unit to start it again (man 1 systemctl, list-jobs): a restart is one job, of this type until the unit has
 * stopped. Without an answer it is an end.
 */
export function isBeingRestarted(unit: string): Promise<boolean> {
  return new Promise((resolve) => {
    execFile(
      'systemctl',
      ['list-jobs', '--full', '--no-legend', '--no-pager'],
      { timeout: answerDeadlineMs },
      (error, output) => resolve(error === null && hasRestartJob(output, unit)),
    );
  });
}

/** `JOB UNIT TYPE STATE` a line. */
export function hasRestartJob(jobs: string, unit: string): boolean {
  return jobs.split('\n').some((line) => {
    const [, name, type] = line.trim().split(/\s+/);
    return name === unit && type === 'restart';
  });
}
