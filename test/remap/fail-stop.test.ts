import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { describe, it } from 'node:test';
import { fileURLToPath } from 'node:url';
import { FilterDevice } from '../../src/block/filter-device.ts';
import { makeStack, patternOf } from './remap-stack.ts';

class Bug extends Error {}

/** Has a bug of ours in it: throws what is no device error. */
class BuggyDevice extends FilterDevice {
  readonly bugsOn = new Set<'read' | 'write'>();

  override async read(target: Uint8Array, offset: number, flags?: number): Promise<void> {
    if (this.bugsOn.has('read')) throw new Bug('read');
    await super.read(target, offset, flags);
  }

  override async write(source: Uint8Array, offset: number, flags?: number): Promise<void> {
    if (this.bugsOn.has('write')) throw new Bug('write');
    await super.write(source, offset, flags);
  }
}

function buggyStack() {
  let main: BuggyDevice | undefined;
  let spare: BuggyDevice | undefined;
  const stack = makeStack({
    wrapMain: (below) => {
      main = new BuggyDevice(below);
      return main;
    },
    wrapSpare: (below) => {
      spare = new BuggyDevice(below);
      return spare;
    },
  });
  assert(main !== undefined && spare !== undefined);
  return { stack, main, spare };
}

/** What the background does with a bug: node's own answer to a rejection that nobody handles. */
function runAlone(script: string): { status: number | null; stderr: string } {
  const source = fileURLToPath(new URL('../../src/', import.meta.url));
  const code = script.replaceAll('SRC/', `file://${source}`);
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', code], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { status, stderr };
}

describe('R35 a bug of ours is never taken for an error of a disk', () => {
  it('in a request, a repair, a probe or a move: it comes out as what it is', async () => {
    const { stack, main, spare } = buggyStack();
    main.bugsOn.add('read').add('write');
    await assert.rejects(stack.clock.run(stack.device.read(new Uint8Array(512), 0)), Bug);
    await assert.rejects(stack.clock.run(stack.device.write(patternOf(0, 8), 0)), Bug);
    main.bugsOn.clear();
    // The write fails, and the probe behind it reads.
    stack.mainDisk.faults.addBadSectors(80, 1, { on: 'write' });
    main.bugsOn.add('read');
    await assert.rejects(stack.clock.run(stack.device.write(patternOf(80, 8), 80 * 512)), Bug);
    main.bugsOn.clear();
    spare.bugsOn.add('write');
    await assert.rejects(stack.clock.run(stack.device.write(patternOf(80, 8), 80 * 512)), Bug);
    assert.equal(stack.core.table.totals().entries, 0);
    assert.equal(stack.device.status().slotsRetired, 0, 'no slot is blamed');
  });

  it('in a probe that nobody waits for: the process ends', () => {
    const { status, stderr } = runAlone(`
      import { PathState } from 'SRC/remap/path/path-state.js';
      const clock = {
        nowMs: () => performance.now(),
        unixMs: () => 0,
        schedule: (ms, action) => { const timer = setTimeout(action, ms); return { cancel: () => clearTimeout(timer) }; },
      };
      const probe = () => Promise.reject(new TypeError('our bug'));
      const path = new PathState({ clock, holdMs: () => 5000, probe, onChange: () => {} });
      path.noteFailed();
      await path.whenWorking();
    `);
    assert.notEqual(status, 0);
    assert.match(stderr, /TypeError: our bug/);
  });
});
