import { assert } from '../../block/assert.ts';
import type { ControlAnswers, ControlAsk, DeviceStatus, WorkerMessage } from '../../device/messages.ts';
import type { HealthStatus } from '../../health/health-status.ts';
import { RealClock } from '../../io/real-clock.ts';
import type { SystemRoots } from '../../io/system-files.ts';
import type { Asker } from '../application.ts';
import { AskError } from '../data-plane-client.ts';
import { disksOfDevice, type FindDisks } from './disk-smart.ts';
import { DiskTuning } from './disk-tuning.ts';
import { HealthWatch } from './health-watch.ts';
import { Smartctl } from './smartctl.ts';
import { sparesView } from './spares-view.ts';
import { wholeDisksUnder } from './whole-disks.ts';

export interface HealthServiceParts {
  /** The data plane. */
  readonly asker: Asker;
  readonly tell: (message: WorkerMessage) => void;
  readonly roots: SystemRoots;
}

/** The data plane, and what the control plane knows of its health. */
export class HealthService implements Asker {
  readonly #asker: Asker;
  readonly #tell: (message: WorkerMessage) => void;
  readonly #smartctl: Smartctl;
  readonly #findDisks: FindDisks;
  readonly #watch: HealthWatch;

  constructor({ asker, tell, roots }: HealthServiceParts) {
    const clock = new RealClock();
    this.#asker = asker;
    this.#tell = tell;
    this.#smartctl = new Smartctl(clock);
    this.#findDisks = (role, path) => wholeDisksUnder(role, path, roots);
    this.#watch = new HealthWatch({
      device: {
        status: () => this.#status(),
        message: (words) => this.#message(words),
      },
      clock,
      smartctl: this.#smartctl,
      findDisks: this.#findDisks,
      tell: (event) => tell({ kind: 'health-event', event }),
    });
  }

  /** As the data plane answers; its status with what is known of its health. */
  async ask(ask: ControlAsk): Promise<ControlAnswers[ControlAsk['type']]> {
    const answer = await this.#asker.ask(ask);
    return isStatus(answer) ? { ...answer, health: await this.#watch.healthOf(answer) } : answer;
  }

  /** Looks anew. Null while the policy is off. Rejects with `AskError`. */
  health(): Promise<HealthStatus | null> {
    return this.#watch.look();
  }

  news(): void {
    this.#watch.news();
  }

  /** Sets the disks up for recovering errors, and tells how. */
  async tune(): Promise<void> {
    try {
      const status = await this.#status();
      const more = status.spare === null ? [] : sparesView(await this.#message(['spare'])).morePaths;
      const disks = await disksOfDevice(status, more, this.#findDisks);
      this.#tell({ kind: 'tuned', notes: await new DiskTuning(this.#smartctl).tune(disks) });
    } catch (error) {
      // The device is about to end, or does not turn.
      if (!(error instanceof AskError)) throw error;
    }
  }

  close(): void {
    void this.#watch.close();
    this.#smartctl.close();
  }

  async #status(): Promise<DeviceStatus> {
    const answer = await this.#asker.ask({ type: 'status' });
    assert(isStatus(answer), 'control worker: a status that is none');
    return answer;
  }

  async #message(words: readonly string[]): Promise<string> {
    const answer = await this.#asker.ask({ type: 'message', sector: 0, words });
    assert('reply' in answer, 'control worker: a reply that is none');
    return answer.reply;
  }
}

function isStatus(answer: ControlAnswers[ControlAsk['type']]): answer is DeviceStatus {
  return 'hostState' in answer;
}
