import type { BlockDevice } from '../../block/block-device.ts';
import type { DeviceError } from '../../block/device-error.ts';
import type { DevicePlace } from '../path/device-paths.ts';

/** A command that a disk may know or not, by the name of its capability. */
export type OptionalCommand = 'discard' | 'writeZeroes';

/** What main and spares know beyond reading and writing. A disk that answers "unsupported" is not asked again (R15). */
export class OptionalCommands {
  readonly #deviceAt: (place: DevicePlace) => BlockDevice;
  readonly #unknownTo = new Map<DevicePlace, Set<OptionalCommand>>();

  constructor(deviceAt: (place: DevicePlace) => BlockDevice) {
    this.#deviceAt = deviceAt;
  }

  /** A disk may itself stop knowing a command: it is asked each time. */
  knows(place: DevicePlace, command: OptionalCommand): boolean {
    const { capabilities } = this.#deviceAt(place);
    return capabilities.write && capabilities[command] && this.#unknownTo.get(place)?.has(command) !== true;
  }

  /** Main zeroes faster than by writing. */
  get fastZeroes(): boolean {
    return this.#deviceAt('main').capabilities.fastZeroes && this.knows('main', 'writeZeroes');
  }

  noteFailure(place: DevicePlace, command: OptionalCommand, failure: DeviceError): void {
    if (failure.kind !== 'unsupported') return;
    const unknown = this.#unknownTo.get(place) ?? new Set<OptionalCommand>();
    unknown.add(command);
    this.#unknownTo.set(place, unknown);
  }
}
