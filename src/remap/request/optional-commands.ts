import type { BlockDevice, Capabilities } from '../../block/block-device.ts';
import type { DeviceError } from '../../block/device-error.ts';

/** A command that a disk may know or not, by the name of its capability. */
export type OptionalCommand = 'discard' | 'writeZeroes';

/** What main and spare know beyond reading and writing. A disk that answers "unsupported" is not asked again (R15). */
export class OptionalCommands {
  readonly #main: Record<OptionalCommand, boolean>;
  readonly #spare: Record<OptionalCommand, boolean>;
  readonly #fastZeroes: boolean;

  constructor(main: BlockDevice, spare: BlockDevice) {
    this.#main = commandsOf(main.capabilities);
    this.#spare = commandsOf(spare.capabilities);
    this.#fastZeroes = main.capabilities.fastZeroes;
  }

  knows(place: 'main' | 'spare', command: OptionalCommand): boolean {
    return (place === 'main' ? this.#main : this.#spare)[command];
  }

  /** Main zeroes faster than by writing. */
  get fastZeroes(): boolean {
    return this.#fastZeroes && this.#main.writeZeroes;
  }

  noteFailure(place: 'main' | 'spare', command: OptionalCommand, failure: DeviceError): void {
    if (failure.kind === 'unsupported') (place === 'main' ? this.#main : this.#spare)[command] = false;
  }
}

function commandsOf({ write, discard, writeZeroes }: Capabilities): Record<OptionalCommand, boolean> {
  return { discard: write && discard, writeZeroes: write && writeZeroes };
}
