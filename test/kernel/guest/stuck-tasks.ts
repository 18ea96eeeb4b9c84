import { readdirSync, readFileSync } from 'node:fs';

/** Processes that the kernel does not let go, with where they wait: what a hang looks like from outside. */
export function stuckTasks(): string {
  const tasks = readdirSync('/proc')
    .filter((entry) => /^\d+$/.test(entry))
    .flatMap((pid) => {
      try {
        const stat = readFileSync(`/proc/${pid}/stat`, 'latin1');
        const state = stat.slice(stat.lastIndexOf(')') + 2, stat.lastIndexOf(')') + 3);
        if (state !== 'D') return [];
        return [`${pid} ${stat.slice(stat.indexOf('('), stat.lastIndexOf(')') + 1)} in ${waitsIn(pid)}`];
      } catch {
        return [];
      }
    });
  return tasks.length === 0 ? 'nothing in state D' : `in state D: ${tasks.join(', ')}`;
}

function waitsIn(pid: string): string {
  try {
    return readFileSync(`/proc/${pid}/wchan`, 'latin1');
  } catch {
    return '?';
  }
}
