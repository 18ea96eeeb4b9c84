import process from 'node:process';
import { FullScreen } from './full-screen.ts';
import type { Key } from './keys.ts';
import { mapCellsOf, screenLines, type TopView } from './screen.ts';
import { type TopRun, untilNext } from './top-run.ts';

/** Looks and draws until the end; keys and changes of size are answered in between, without asking anybody. */
export async function showScreen(run: TopRun): Promise<void> {
  const shown = new ShownScreen(run);
  try {
    await shown.run();
  } finally {
    shown.leave();
  }
}

class ShownScreen {
  readonly #run: TopRun;
  readonly #screen: FullScreen;
  /** By name: the list may change. */
  #selected: string | undefined;
  #paused = false;
  #wake = new AbortController();

  constructor(run: TopRun) {
    this.#run = run;
    const input = process.stdin.isTTY ? process.stdin : undefined;
    this.#screen = new FullScreen({
      output: process.stdout,
      input,
      colours: (process.env['NO_COLOR'] ?? '') === '' && process.stdout.hasColors(),
      onKey: (key) => this.#press(key),
      onRedraw: () => this.#draw(),
      stop: () => process.kill(process.pid, 'SIGSTOP'),
    });
    run.ending.signal.addEventListener('abort', () => this.#wake.abort(), { once: true });
  }

  async run(): Promise<void> {
    const { watch, ending, countMax } = this.#run;
    this.#screen.enter();
    this.#draw();
    let looks = 0;
    while (!ending.signal.aborted) {
      if (!this.#paused) {
        await watch.look();
        looks += 1;
        this.#draw();
        await this.#lookAtMap();
        // The first look has no figures.
        if (looks > countMax) return;
      }
      if (this.#wake.signal.aborted && !ending.signal.aborted) this.#wake = new AbortController();
      await untilNext(this.#run, this.#wake.signal);
    }
  }

  leave(): void {
    this.#screen.leave();
  }

  /** Redraws only where there is a new one. */
  async #lookAtMap(): Promise<void> {
    const name = this.#names[this.#selectedIndex];
    if (name === undefined) return;
    await this.#run.watch.lookAtMap(name, mapCellsOf(this.#view(), this.#screen.size));
    this.#draw();
  }

  get #names(): readonly string[] {
    return this.#run.watch.views.map((view) => view.name);
  }

  get #selectedIndex(): number {
    return Math.max(0, this.#selected === undefined ? 0 : this.#names.indexOf(this.#selected));
  }

  #press(key: Key): void {
    if (key === 'quit') this.#run.ending.abort();
    else if (key === 'pause') {
      this.#paused = !this.#paused;
      if (!this.#paused) this.#wake.abort();
      this.#draw();
    } else this.#select(key === 'next' ? 1 : -1);
  }

  #select(step: 1 | -1): void {
    const names = this.#names;
    if (names.length < 2) return;
    this.#selected = names[(this.#selectedIndex + step + names.length) % names.length];
    this.#draw();
    if (!this.#paused) void this.#lookAtMap();
  }

  #draw(): void {
    if (!this.#run.ending.signal.aborted) this.#screen.draw(screenLines(this.#view(), this.#screen.size));
  }

  #view(): TopView {
    return {
      devices: this.#run.watch.views,
      selected: this.#selectedIndex,
      paused: this.#paused,
      intervalSeconds: this.#run.intervalSeconds,
      unixMs: Date.now(),
      keys: process.stdin.isTTY,
    };
  }
}
