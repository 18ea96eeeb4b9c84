import { SetupError } from '../../device/setup-error.ts';
import type { Screen, Terminal } from '../terminal.ts';
import { jsonOf, plainHead, plainLine, type SeenDevice } from './plain-line.ts';
import { type DeviceView, mapCellsOf, screenLines, type TopView } from './screen.ts';
import { plainText } from './span.ts';
import { type TopRun, untilNext } from './top-run.ts';

/** Where nobody said how much room there is: as wide as a mail. */
const screenDefault: Screen = { columns: 80, rows: 24 };

/** A line a look and device, the first behind one interval: there are no figures before. */
export async function printLooks(terminal: Terminal, run: TopRun): Promise<void> {
  const { signal } = run.ending;
  const warned = new Map<string, string>();
  await run.watch.look();
  if (!run.json) terminal.print(plainHead());
  for (let look = 0; look < run.countMax && !signal.aborted; look += 1) {
    await untilNext(run, signal);
    if (signal.aborted) return;
    await run.watch.look();
    const unixMs = Date.now();
    for (const view of run.watch.views) {
      if (warned.get(view.name) !== view.silent) warnOf(terminal, view);
      warned.set(view.name, view.silent);
      if (!isSeen(view) || view.silent !== '') continue;
      terminal.print(run.json ? JSON.stringify(jsonOf(view, unixMs)) : plainLine(view, unixMs));
    }
  }
}

/** The screen of each device, once, as text; for a device that cannot be asked it fails behind the others. */
export async function printOnce(terminal: Terminal, run: TopRun): Promise<void> {
  await run.watch.look();
  await untilNext(run, run.ending.signal);
  await run.watch.look();
  const { columns } = terminal.screen?.() ?? screenDefault;
  const screen = { columns, rows: screenDefault.rows };
  const unixMs = Date.now();
  const viewOf = (at: number): TopView => ({
    devices: run.watch.views.slice(at, at + 1),
    selected: 0,
    paused: false,
    intervalSeconds: run.intervalSeconds,
    unixMs,
    keys: false,
  });
  for (const [at, { name }] of run.watch.views.entries()) {
    if (run.json) {
      const seen = run.watch.views[at]!;
      if (isSeen(seen) && seen.silent === '') terminal.print(JSON.stringify(jsonOf(seen, unixMs)));
      continue;
    }
    await run.watch.lookAtMap(name, mapCellsOf(viewOf(at), screen));
    terminal.print(screenLines(viewOf(at), screen).map(plainText).join('\n').trimEnd());
  }
  const silent = run.watch.views.filter((view) => view.silent !== '').map(describe);
  if (silent.length > 0) throw new SetupError('failed', silent.join('; '));
}

function isSeen(view: DeviceView): view is SeenDevice {
  return view.status !== undefined;
}

function warnOf(terminal: Terminal, view: DeviceView): void {
  if (view.silent !== '') terminal.warn(`dm-remap: top: warning: ${describe(view)}`);
}

/** What a killed device says of itself begins with its name. */
function describe({ name, silent }: DeviceView): string {
  return silent.startsWith(`${name}: `) ? silent : `${name}: ${silent}`;
}
