// Writes the golden images of the current format into test/golden/format-1. Run once for a release:
//
//   node --enable-source-maps dist/test/metadata/make-golden-images.js
//
// An image that is there is left alone: images of a released format never change (M20).
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { gzipSync } from 'node:zlib';
import { goldenImages, makeImage } from './golden-images.ts';

const folder = fileURLToPath(new URL('../../../test/golden/format-1/', import.meta.url));
mkdirSync(folder, { recursive: true });
for (const golden of goldenImages) {
  const path = `${folder}${golden.name}`;
  if (existsSync(`${path}.img.gz`)) continue;
  const { image, expectation } = await makeImage(golden);
  writeFileSync(`${path}.img.gz`, gzipSync(image, { level: 9 }));
  writeFileSync(`${path}.json`, `${JSON.stringify(expectation, undefined, 2)}\n`);
  console.log(`${golden.name}: ${expectation.records.length} records`);
}
