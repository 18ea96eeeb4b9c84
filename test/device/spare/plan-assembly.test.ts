import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type AssemblyRow, planAssembly } from '../../../src/device/spare/plan-assembly.ts';

const row = (changes: Partial<AssemblyRow> = {}): AssemblyRow => ({
  path: '/dev/sdc1',
  state: 'clean',
  name: 'old-disk',
  uuid: 'u1',
  mainPath: '/dev/sdb',
  main: 'found',
  mainFoundPath: '/dev/sdb',
  copyOf: '',
  key: 'block 8:33',
  detail: '',
  servedAs: '',
  ...changes,
});

const verdicts = (...rows: AssemblyRow[]): string[] =>
  planAssembly(rows).map(({ name, verdict, why }) => `${name} ${verdict}: ${why}`);

test('M15 a device whose main names itself is started, also when all disks have new names', () => {
  const [there] = planAssembly([row()]);
  assert.deepEqual([there!.verdict, there!.mainPath], ['start', '']);
  const [moved] = planAssembly([row({ path: '/dev/sda1', state: 'not-closed', mainFoundPath: '/dev/sdd' })]);
  assert.deepEqual([moved!.verdict, moved!.sparePath, moved!.mainPath], ['start', '/dev/sda1', '/dev/sdd']);
  assert.match(
    moved!.why,
    /^\/dev\/sdd, which was \/dev\/sdb names itself as its main, \/dev\/sda1 is its spare$/,
  );
});

test('M15 a main that nothing proves, or that several disks are, is for a person to name', () => {
  assert.match(verdicts(row({ main: 'unproven' }))[0]!, /refused: nothing proves that \/dev\/sdb .*--main/);
  const two = row({ main: 'several', mainFoundPath: '/dev/sdb and /dev/sde' });
  assert.match(verdicts(two)[0]!, /refused: \/dev\/sdb and \/dev\/sde all name themselves as its main/);
  assert.match(verdicts(row({ main: '', mainPath: '' }))[0]!, /refused: its spare does not say/);
  assert.match(verdicts(row({ main: 'missing' }))[0]!, /wait: its main is not there, was \/dev\/sdb/);
});

test('M12 a copy beside its spare is left alone; copies alone, and two spares, are refused', () => {
  const copy = row({ path: '/dev/sdd1', key: 'block 8:49', copyOf: 'its superblock belongs to …' });
  const beside = planAssembly([copy, row()]);
  assert.deepEqual([beside.length, beside[0]!.verdict, beside[0]!.sparePath], [1, 'start', '/dev/sdc1']);
  assert.match(beside[0]!.why, /1 other disk with a copy/);
  assert.match(verdicts(copy)[0]!, /refused: \/dev\/sdd1: only copies .*adopt/);
  const twin = row({ path: '/dev/sdd1', key: 'block 8:49' });
  assert.match(verdicts(row(), twin)[0]!, /refused: \/dev\/sdc1 and \/dev\/sdd1 both claim/);
  // One disk by two names is one.
  assert.equal(planAssembly([row(), row({ path: '/dev/disk/by-id/x' })])[0]!.verdict, 'start');
});

test('what is served is not started again, not even from a copy', () => {
  const copy = row({ path: '/dev/sdd1', key: 'block 8:49', copyOf: 'x' });
  assert.deepEqual(verdicts(copy, row({ servedAs: 'old-disk' })), ['old-disk served: served as old-disk']);
});

test('two devices of one name are both refused, and spares that nobody can read are told', () => {
  const other = row({ path: '/dev/sdd1', key: 'block 8:49', uuid: 'u2' });
  for (const line of verdicts(row(), other)) assert.match(line, /refused: .*two devices of this name/);
  assert.match(verdicts(row({ state: 'damaged', uuid: '', name: '' }))[0]!, /refused: .*metadata check/);
  assert.match(verdicts(row({ state: 'newer', uuid: '', name: '' }))[0]!, /refused: .*newer dm-remap/);
  assert.deepEqual(verdicts(row({ state: 'no-spare', uuid: '', name: '' })), []);
});

test('M12 M15 whatever is found: what is started has one spare that is no copy, and a main that is proven', () => {
  const rows = fc.array(
    fc.record({
      key: fc.constantFrom('a', 'b', 'c', 'd'),
      uuid: fc.constantFrom('u1', 'u2'),
      name: fc.constantFrom('one', 'two'),
      copyOf: fc.constantFrom('', '', 'x'),
      servedAs: fc.constantFrom('', '', '', 'one'),
      main: fc.constantFrom('found', 'several', 'unproven', 'missing', 'elsewhere', '' as const),
    }),
    { maxLength: 6 },
  );
  fc.assert(
    fc.property(rows, (found) => {
      const all = found.map((changes) => row({ ...changes, path: `/dev/${changes.key}` }));
      const plan = planAssembly(all);
      const started = plan.filter(({ verdict }) => verdict === 'start');
      assert.equal(new Set(started.map(({ uuid }) => uuid)).size, started.length);
      assert.equal(new Set(started.map(({ name }) => name)).size, started.length);
      for (const one of started) {
        const claims = all.filter(({ uuid, copyOf }) => uuid === one.uuid && copyOf === '');
        assert.ok(claims.length > 0);
        assert.ok(
          claims.some(
            ({ path, main }) => path === one.sparePath && (main === 'found' || main === 'elsewhere'),
          ),
        );
      }
    }),
  );
});
