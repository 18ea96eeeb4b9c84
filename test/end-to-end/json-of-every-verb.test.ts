import assert from 'node:assert/strict';
import { copyFileSync, truncateSync, writeFileSync } from 'node:fs';
import { test } from 'node:test';
import { assertShape, jsonShapes } from '../cli/json-shapes.ts';
import { DeviceLab } from './device-lab.ts';
import { assertNothingLeftOver } from './nothing-left-over.ts';

const mib = 1_048_576;
const create = 'create disk --main main.img --spare spare.img --create-spare 32M';

/** A device's life in which every verb has something to say. */
const life: readonly (readonly [shape: string, words: string, before?: (lab: DeviceLab) => void])[] = [
  ['create', `${create} --check-spare`],
  ['message', 'message disk 0 remap 5000 40'],
  ['ls', 'ls'],
  ['info', 'info disk'],
  ['status', 'status disk'],
  ['health', 'health disk'],
  ['spare-add', 'spare add disk extra.img', (lab) => lab.image('extra.img', 8 * mib)],
  ['spare-list', 'spare list disk'],
  ['spare-remove', 'spare remove disk extra.img'],
  ['scrub', 'scrub disk start --rate 0 --wait'],
  ['top', 'top disk --once --interval 0.1'],
  ['restart', 'restart disk'],
  ['table', 'table disk'],
  ['policy', 'policy disk path-timeout 60'],
  ['import', 'import disk bad', (lab) => writeFileSync(lab.path('bad'), '7\n')],
  ['export', 'export disk'],
  ['suspend', 'suspend disk'],
  ['resume', 'resume disk'],
  ['remove', 'remove disk'],
  ['examine', 'examine spare.img'],
  ['scan', 'scan spare.img'],
  ['metadata-check', 'metadata check spare.img'],
  ['metadata-repair', 'metadata repair spare.img --yes'],
  ['metadata-dump', 'metadata dump spare.img'],
  ['adopt', 'adopt copy.img', (lab) => copyFileSync(lab.path('spare.img'), lab.path('copy.img'))],
  [
    'adopt-main',
    'adopt-main copy.img --main other.img',
    (lab) => copyFileSync(lab.path('main.img'), lab.path('other.img')),
  ],
  ['resize', 'resize copy.img --main other.img', (lab) => truncateSync(lab.path('other.img'), 65 * mib)],
  ['assemble', 'assemble --spare copy.img --main other.img'],
  ['retire', 'retire disk'],
  ['remove', 'remove disk'],
  ['wipe', 'wipe copy.img --yes'],
  ['setup', 'setup --root . --dry-run'],
  ['setup', 'setup --root . --yes'],
  ['setup', 'setup --root . --uninstall --yes'],
  ['version', 'version'],
];

/** `status --watch`, `events`, `assemble --all`, `attach`, `detach`, `monitor` and `status --check` have tests of their own; `metadata restore` is below, for it wants a dump as text. */
const elsewhere = [
  'spare-replace',
  'status-watch',
  'events',
  'assemble-all',
  'metadata-restore',
  'attach',
  'detach',
  'monitor',
  'status-check',
];

test('--json of every verb has the shape that docs/cli.md shows, and nothing else on standard output', async () => {
  const lab = new DeviceLab();
  try {
    lab.image('main.img', 64 * mib);
    const seen = new Set(elsewhere);
    for (const [shape, words, before] of life) {
      before?.(lab);
      assertShape(shape, await lab.mustRun(...words.split(' '), '--json'));
      seen.add(shape);
    }
    const others = [...jsonShapes.keys()].filter((shape) => !seen.has(shape));
    assert.deepEqual(others, [], 'every shape is tested');
    await lab.mustRun(...create.replace('spare.img', 'again.img').split(' '));
    await lab.mustRun('remove', 'disk');
    writeFileSync(lab.path('dump'), await lab.mustRun('metadata', 'dump', 'again.img'));
    const restore = ['metadata', 'restore', 'dump', 'again.img', '--yes', '--json'];
    assertShape('metadata-restore', await lab.mustRun(...restore));
    assert.deepEqual(lab.leftovers(), []);
    assertNothingLeftOver(lab.folder);
  } finally {
    await lab.close();
  }
});
