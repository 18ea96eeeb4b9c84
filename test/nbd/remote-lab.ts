import assert from 'node:assert/strict';
import type { BlockDevice } from '../../src/block/block-device.ts';
import { type ByteStream, StreamError } from '../../src/io/byte-stream.ts';
import type { NbdDevice } from '../../src/nbd/nbd-device.ts';
import type { NbdAddress } from '../../src/nbd/nbd-uri.ts';
import { openNbdDevice } from '../../src/nbd/open-nbd-device.ts';
import { settle } from './manual-clock.ts';
import { ServerFixture, type ServerFixtureOptions } from './server-fixture.ts';

export const address: NbdAddress = {
  uri: 'nbd://test/disk',
  exportName: 'disk',
  place: { transport: 'tcp', host: 'test', port: 1 },
};

/** A server in memory, a disk on it, and the cable between them. */
export class Lab {
  readonly fixture: ServerFixture;
  device: NbdDevice | undefined;
  /** Who answers the next connection; undefined: nobody. */
  server: ServerFixture | undefined;
  #cable: ByteStream | undefined;

  constructor(options: ServerFixtureOptions) {
    this.fixture = new ServerFixture(options);
    this.server = this.fixture;
  }

  static async open(device: BlockDevice, options: ServerFixtureOptions = {}): Promise<Lab> {
    const lab = new Lab({ ...options, device });
    lab.device = await openNbdDevice({
      address,
      clock: lab.fixture.clock,
      readOnly: false,
      stream: () => {
        if (lab.server === undefined)
          return Promise.reject(new StreamError('STREAM_FAILED', 'nobody listens'));
        const pair = lab.server.connect();
        lab.#cable = pair.server;
        return Promise.resolve(pair.client);
      },
    });
    return lab;
  }

  get disk(): NbdDevice {
    return this.device ?? assert.fail('it is open');
  }

  async cut(): Promise<void> {
    await this.#cable?.close();
    await settle();
  }

  async end(): Promise<void> {
    const closing = this.disk.close();
    await settle();
    await closing;
    await this.fixture.end();
  }
}
