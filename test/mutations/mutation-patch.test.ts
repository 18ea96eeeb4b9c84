import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { applyFilePatch, MutationPatchError, parseMutationPatch } from './mutation-patch.ts';

const text = `R22 Something
is left out.

--- a/src/one.ts
+++ b/src/one.ts
@@ -3,2 +3,2 @@
 stays();
-goes();
+comes();
--- a/src/two.ts
+++ b/src/two.ts
@@
-gone();
`;

describe('a mutation patch', () => {
  it('says what its bug is and has the hunks of each file', () => {
    const patch = parseMutationPatch('bug', text);
    assert.equal(patch.about, 'R22 Something is left out.');
    assert.deepEqual(patch.files, [
      { path: 'src/one.ts', hunks: [{ before: ['stays();', 'goes();'], after: ['stays();', 'comes();'] }] },
      { path: 'src/two.ts', hunks: [{ before: ['gone();'], after: [] }] },
    ]);
  });

  it('fits wherever its lines stand together, however they are indented', () => {
    const [one] = parseMutationPatch('bug', text).files;
    const source = 'first();\n  if (so) {\n    stays();\n    goes();\n  }\ngoes();';
    assert.equal(
      applyFilePatch('bug', one!, source),
      'first();\n  if (so) {\nstays();\ncomes();\n  }\ngoes();',
    );
  });

  it('that fits nowhere, or twice, says in one line where to look', () => {
    const [one] = parseMutationPatch('bug', text).files;
    for (const source of ['goes();\nstays();', 'stays();\ngoes();\nstays();\ngoes();']) {
      assert.throws(
        () => applyFilePatch('bug', one!, source),
        (error: unknown) =>
          error instanceof MutationPatchError &&
          /^test\/mutations\/bug\.patch no longer fits: in src\/one\.ts 'stays\(\);' is .* adapt the patch$/.test(
            error.message,
          ),
      );
    }
  });

  it('without a file, a description or a line to find is refused', () => {
    for (const wrong of [
      'R1 Something.',
      '--- a/src/one.ts\n+++ b/src/one.ts\n@@\n-goes();\n',
      'R1 Something.\n\n--- a/src/one.ts\n+++ b/src/one.ts\n@@\n+comes();\n',
      'R1 Something.\n\n--- a/src/one.ts\n+++ b/src/one.ts\n@@\nneither\n',
    ]) {
      assert.throws(() => parseMutationPatch('wrong', wrong), MutationPatchError);
    }
  });
});
