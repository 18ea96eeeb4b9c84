import type { BlockDevice } from '../../block/block-device.ts';
import type { DeviceError } from '../../block/device-error.ts';

/** A command that a disk may know or not, by the name of its capability. */
export type OptionalCommand = 'discard' | 'writeZeroes';

/** What main and spare know beyond reading and writing. A disk that answers "unsupported" is not asked again (R15). */
export class OptionalCommands {
  readonly #main: BlockDevice;
  readonly #spare: BlockDevice;
  readonly #unknownTo = { main: new Set<OptionalCommand>(), spare: new Set<OptionalCommand>() };

  constructor(main: BlockDevice, spare: BlockDevice) {
    this.#main = main;
    this.#spare = spare;
  }

  /** A disk may itself stop knowing a command: it is asked each time. */
  knows(place: 'main' | 'spare', command: OptionalCommand): boolean {
    const { capabilities } = place === 'main' ? this.#main : this.#spare;
    return capabilities.write && capabilities[command] && !this.#unknownTo[place].has(command);
  }

  /** Main zeroes faster than by writing. */
  get fastZeroes(): boolean {
    return this.#main.capabilities.fastZeroes && this.knows('main', 'writeZeroes');
  }

  noteFailure(place: 'main' | 'spare', command: OptionalCommand, failure: DeviceError): void {
    if (failure.kind === 'unsupported') this.#unknownTo[place].add(command);
  }
}
