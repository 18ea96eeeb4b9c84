import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeAddress, internetAddress, unixAddress } from '../../src/linux/socket-address.ts';

describe('socket addresses', () => {
  const cases = [
    ['127.0.0.1', 10809, '127.0.0.1:10809', [2, 0, 0x2a, 0x39, 127, 0, 0, 1]],
    ['255.255.255.255', 65535, '255.255.255.255:65535', [2, 0, 0xff, 0xff, 255, 255, 255, 255]],
    ['::1', 1, '[::1]:1', [10, 0, 0, 1, 0, 0, 0, 0, ...Array<number>(15).fill(0), 1]],
    [
      'fe80::1:2',
      80,
      '[fe80::1:2]:80',
      [10, 0, 0, 80, 0, 0, 0, 0, 0xfe, 0x80, ...Array<number>(11).fill(0), 1, 0, 2],
    ],
    [
      '1:2:3:4:5:6:7:8',
      80,
      '[1:2:3:4:5:6:7:8]:80',
      [10, 0, 0, 80, 0, 0, 0, 0, 0, 1, 0, 2, 0, 3, 0, 4, 0, 5, 0, 6, 0, 7, 0, 8],
    ],
    ['::', 0, '[::]:0', [10, 0, 0, 0, 0, 0, 0, 0, ...Array<number>(16).fill(0)]],
  ] as const;

  for (const [host, port, text, bytes] of cases) {
    it(`${host} port ${port} is ${text}`, () => {
      const address = internetAddress(host, port);
      assert.ok(address);
      assert.deepEqual([...address.subarray(0, bytes.length)], bytes);
      assert.ok(address.subarray(bytes.length).every((byte) => byte === 0));
      assert.equal(describeAddress(address), text);
    });
  }

  it('knows what is no address', () => {
    for (const host of ['', 'example.org', '1.2.3', '1.2.3.4.5', 'fe80::1%eth0', ':::']) {
      assert.equal(internetAddress(host, 1), undefined, host);
    }
  });

  it('a Unix path ends in a zero byte', () => {
    assert.deepEqual([...unixAddress('/a')], [1, 0, 0x2f, 0x61, 0]);
    assert.equal(describeAddress(unixAddress('/a')), 'unix');
  });
});
