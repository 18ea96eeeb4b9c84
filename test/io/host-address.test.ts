import assert from 'node:assert/strict';
import { afterEach, describe, it, mock } from 'node:test';
import { StreamError } from '../../src/io/byte-stream.ts';
import { hostAddresses, type LookUp, lookupTimeoutMs } from '../../src/io/host-address.ts';

/** Knows these names, in this order. */
function resolver(names: Readonly<Record<string, readonly string[]>>): LookUp {
  return (host, options, answered) => {
    assert.deepEqual(options, { all: true, order: 'verbatim' });
    const addresses = names[host];
    setImmediate(() => {
      if (addresses === undefined) answered(Object.assign(new Error('no'), { code: 'ENOTFOUND' }), []);
      else
        answered(
          null,
          addresses.map((address) => ({ address })),
        );
    });
  };
}

const nobodyAsked: LookUp = () => assert.fail('a name server was asked');

async function addressesOf(host: string, lookUp: LookUp): Promise<string[]> {
  return (await hostAddresses(host, 10809, lookUp)).map(({ ip }) => ip);
}

describe('the addresses of a host', () => {
  afterEach(() => mock.timers.reset());

  it('of an IP address is itself, of localhost the one that everybody means; nobody is asked', async () => {
    assert.deepEqual(await addressesOf('192.0.2.7', nobodyAsked), ['192.0.2.7']);
    assert.deepEqual(await addressesOf('2001:db8::1', nobodyAsked), ['2001:db8::1']);
    assert.deepEqual(await addressesOf('localhost', nobodyAsked), ['127.0.0.1']);
  });

  it('of a name are all that are known, in the order of the resolver, eight at most', async () => {
    const many = Array.from({ length: 20 }, (_, index) => `192.0.2.${index}`);
    const lookUp = resolver({ spare: ['2001:db8::1', '192.0.2.1', 'fe80::1%eth0'], many });
    assert.deepEqual(await addressesOf('spare', lookUp), ['2001:db8::1', '192.0.2.1']);
    assert.deepEqual(await addressesOf('many', lookUp), many.slice(0, 8));
  });

  it('of a name that nobody knows is refused in one line', async () => {
    const lookUp = resolver({ empty: [] });
    for (const [host, says] of [
      ['nowhere', /^nowhere: not an IP address, and no host of this name is known \(ENOTFOUND\)$/],
      ['empty', /^empty: this name has no usable address$/],
    ] as const) {
      await assert.rejects(hostAddresses(host, 1, lookUp), (error: unknown) => {
        assert.ok(error instanceof StreamError);
        assert.match(error.message, says);
        return true;
      });
    }
  });

  it('is not waited for longer than a while, and a later answer is for nobody', async () => {
    mock.timers.enable({ apis: ['setTimeout'] });
    let answer: (() => void) | undefined;
    const lookUp: LookUp = (_host, _options, answered) => {
      answer = () => answered(null, [{ address: '192.0.2.1' }]);
    };
    const asking = hostAddresses('slow', 1, lookUp);
    mock.timers.tick(lookupTimeoutMs);
    await assert.rejects(asking, { name: 'StreamError', message: /no name server has answered in 5 s/ });
    answer?.();
  });
});
