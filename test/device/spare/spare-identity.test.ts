import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SetupError } from '../../../src/device/setup-error.ts';
import { checkSpare } from '../../../src/device/spare/spare-identity.ts';
import { type DiskIdentity, identityFromPairs, identityToPairs } from '../../../src/io/disk-identity.ts';
import { replacedKey } from '../../../src/remap/spare/replaced-key.ts';

const disk = (path: string, serial: string): DiskIdentity =>
  identityFromPairs({ kind: 'block', path, serial, sizeBytes: String(1 << 30) });

const old = disk('/dev/sdc', 'OLD');
const next = disk('/dev/sdd', 'NEW');

async function refusalOf(
  spareIdentity: Readonly<Record<string, string>>,
  found: DiskIdentity,
): Promise<string> {
  const properties = { name: 'disk', mainIdentity: {}, spareIdentity, policies: {} };
  const facts = {
    ...{ uuid: 'u', mainSizeBytes: 0, logicalBlockBytes: 512, granuleBytes: 4096, createdUnixSeconds: 0 },
    ...{ fresh: false, freshSizeBytes: 0, properties, cleanlyClosed: false, lastSequence: 0, generation: 1 },
    ...{ sessionNonce: '', revision: 1, membershipEpoch: 1, members: [] },
  };
  try {
    const spare = { path: found.path, identity: found };
    await checkSpare({ spare, facts, hostState: undefined, force: false });
    return '';
  } catch (error) {
    assert.ok(error instanceof SetupError && error.reason === 'refused', String(error));
    return error.message;
  }
}

test('M12 a spare that another disk was replacing says which, and what a person can do, in one line', async () => {
  const message = await refusalOf({ ...identityToPairs(next), [replacedKey]: 'yes' }, old);
  assert.match(
    message,
    /^\/dev\/sdc: spare-replaced: it was being replaced as the spare by \/dev\/sdd: .*serial NEW/,
  );
  assert.match(
    message,
    /assemble it with --spare \/dev\/sdd; only where that carries no spare .*adopt \/dev\/sdc$/,
  );
  assert.ok(!message.includes('\n'));
});

test('M12 the disk that took over is the spare, and a copy of a spare is refused as a copy', async () => {
  assert.equal(await refusalOf(identityToPairs(next), next), '');
  assert.match(
    await refusalOf(identityToPairs(next), old),
    /^\/dev\/sdc: is a copy of a spare: .*adopt \/dev\/sdc$/,
  );
});
