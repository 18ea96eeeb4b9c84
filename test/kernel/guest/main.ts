import { readFileSync } from 'node:fs';
import process from 'node:process';
import { setTimeout as sleep } from 'node:timers/promises';
import { bindLibc } from '../../../src/linux/system-call.ts';
import { runTool } from '../../end-to-end/foreign-tool.ts';
import type { StoryCall } from '../story-plan.ts';
import { report } from './report.ts';
import { playStory } from './stories/play-story.ts';
import { stuckTasks } from './stuck-tasks.ts';

/** linux/include/uapi/linux/reboot.h */
const LINUX_REBOOT_CMD_POWER_OFF = 0x4321fedc;
const reboot = bindLibc<(command: number) => number>('reboot', 'int', ['int']);
const failureLettersMax = 6000;

const stories: readonly StoryCall[] = JSON.parse(readFileSync(process.argv[2]!, 'utf8'));
for (const call of stories) {
  // What hangs keeps its disks: nothing that came after it would say anything.
  if (!(await playOne(call))) break;
}
await turnOff();

/** False when the machine is not fit for another story. */
async function playOne({ title, plan, limitSeconds }: StoryCall): Promise<boolean> {
  report({ kind: 'begun', title });
  const startMs = performance.now();
  const tell = (text: string): void => report({ kind: 'told', title, text });
  const timer = new AbortController();
  const hung = sleep(limitSeconds * 1000, 'hung' as const, { signal: timer.signal });
  let seen = '';
  let failure = '';
  let isFit = true;
  try {
    const outcome = await Promise.race([playStory(plan, tell), hung]);
    if (outcome === 'hung') {
      isFit = false;
      failure = `no end within ${limitSeconds} s; ${stuckTasks()}`;
    } else seen = outcome;
  } catch (error) {
    failure = error instanceof Error ? (error.stack ?? error.message) : String(error);
  } finally {
    timer.abort();
    await hung.catch(() => undefined);
  }
  if (failure !== '') failure = `${failure.slice(0, failureLettersMax)}\nkernel: ${await kernelLog()}`;
  report({ kind: 'ended', title, seconds: (performance.now() - startMs) / 1000, seen, failure });
  return isFit;
}

async function kernelLog(): Promise<string> {
  const { output } = await runTool('dmesg');
  return output.split('\n').slice(-15).join('\n');
}

async function turnOff(): Promise<never> {
  // What hangs would keep `sync` too.
  await Promise.race([runTool('sync'), sleep(10_000)]);
  reboot(LINUX_REBOOT_CMD_POWER_OFF | 0);
  return await new Promise<never>(() => undefined);
}
