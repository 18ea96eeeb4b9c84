import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { describe, it } from 'node:test';
import { AssertionFailure } from '../../src/block/assert.ts';
import { MemoryMapping } from '../../src/linux/memory-mapping.ts';

/** Bytes of this process that are in memory. */
function residentBytes(): number {
  return Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]) * 1024;
}

describe('a memory mapping', () => {
  it('is zeroed, starts on a page, and is one buffer', () => {
    const mapping = MemoryMapping.anonymous(64 * 1024);
    const bytes = new Uint8Array(mapping.buffer);
    assert.equal(mapping.address % 4096, 0);
    assert.equal(bytes.length, 64 * 1024);
    assert.ok(bytes.every((byte) => byte === 0));
    bytes.fill(1);
    assert.equal(mapping.buffer, bytes.buffer);
    mapping.unmap();
  });

  it('is resident only where it is touched, locked or not', () => {
    const mapping = MemoryMapping.anonymous(256 * 1024 * 1024);
    const before = residentBytes();
    mapping.lock();
    new Uint8Array(mapping.buffer, 0, 4096).fill(1);
    assert.ok(residentBytes() - before < 64 * 1024 * 1024);
    mapping.unmap();
  });

  it('is not in child processes: a fork while a disk writes to it would move its pages away', () => {
    const mapping = MemoryMapping.anonymous(64 * 1024);
    const maps = readFileSync('/proc/self/smaps', 'utf8').split(/^(?=[0-9a-f]+-[0-9a-f]+ )/m);
    const own = maps.find((text) => {
      const [, from, to] = /^([0-9a-f]+)-([0-9a-f]+) /.exec(text) ?? [];
      const inside = (at: string | undefined): number => Number.parseInt(at ?? '0', 16);
      return inside(from) <= mapping.address && mapping.address < inside(to);
    });
    // Linux, Documentation/filesystems/proc.rst: dc, do not copy area on fork.
    assert.match(own ?? '', /^VmFlags:.* dc( |$)/m);
    mapping.unmap();
  });

  it('does not hand out its buffer after it is unmapped: reading it would kill the process', () => {
    const mapping = MemoryMapping.anonymous(4096);
    mapping.unmap();
    mapping.unmap();
    assert.equal(mapping.mapped, false);
    assert.throws(() => mapping.buffer, AssertionFailure);
  });
});
