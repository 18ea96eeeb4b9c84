// Makes the program that people start, `dist/program`: all that a process loads is one file. Reading and linking some 300
// modules was more than half of the time in which a device came (docs/architecture.md).
//
//   node scripts/bundle.mjs        scripts/setup.mjs calls it behind the compiler
//
// The library (`dist/src`) stays as the compiler wrote it. Packages with machine code stay outside, in node_modules.

import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';

const project = dirname(dirname(fileURLToPath(import.meta.url)));

/** They load a file for this machine from beside themselves. */
const outside = ['koffi', '@node-rs/crc32'];

/** One folder, as deep as the sources' own: a program finds its worker beside itself, its package three steps up. */
const outputs = { main: 'src/cli/main.ts', worker: 'src/control/worker.ts' };
const folderOf = (root) => join(root, 'dist', 'program', 'cli');

/** What `import.meta.url` is in a module, said for a CommonJS file. */
const placeOfFile = "const programUrl = require('node:url').pathToFileURL(__filename).href;";

/** Whether the program was made of what the compiler wrote last. */
export function isBundled(root = project) {
  const files = Object.keys(outputs).map((name) => join(folderOf(root), `${name}.cjs`));
  const compiled = join(root, 'dist', 'src', 'cli', 'main.js');
  if (!files.every(existsSync) || !existsSync(compiled)) return false;
  return files.every((path) => statSync(path).mtimeMs >= statSync(compiled).mtimeMs);
}

/** Readable: names and lines as in the sources, and a map. CommonJS costs an eighth less time to load than modules. */
export async function bundle(root = project) {
  const { build } = await import('esbuild');
  const { metafile } = await build({
    absWorkingDir: root,
    entryPoints: outputs,
    outdir: folderOf(root),
    outExtension: { '.js': '.cjs' },
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    format: 'cjs',
    external: outside,
    define: { 'import.meta.url': 'programUrl' },
    banner: { js: placeOfFile },
    sourcemap: true,
    sourcesContent: false,
    legalComments: 'none',
    metafile: true,
    logLevel: 'warning',
  });
  for (const name of Object.keys(outputs)) {
    const path = join(folderOf(root), `${name}.cjs`);
    writeFileSync(path, withoutWideComments(readFileSync(path, 'utf8')));
  }
  writeFileSync(join(root, 'dist', 'program', 'LICENSES.txt'), licences(root, Object.keys(metafile.inputs)));
}

/** One character above 255 and V8 keeps the whole text in two bytes a character. In code they are escaped already. */
function withoutWideComments(text) {
  return text.replace(/^\s*(?:\/\/|\/\*|\*).*$/gm, (line) => line.replace(/[^\0-~]/g, '?'));
}

/** What the packages ask for that are part of the file. */
function licences(root, inputs) {
  const packages = new Set(
    inputs.map((path) => /^(.*node_modules\/(?:@[^/]+\/)?[^/]+)\//.exec(path)?.[1]).filter(Boolean),
  );
  return [...packages]
    .sort()
    .map((folder) => {
      const { name, version, license } = JSON.parse(readFileSync(join(root, folder, 'package.json'), 'utf8'));
      const file = readdirSync(join(root, folder)).find((one) => /^licen[cs]e/i.test(one));
      const text = file === undefined ? '' : readFileSync(join(root, folder, file), 'utf8').trim();
      return `${name} ${version}: ${license}\n\n${text}\n`;
    })
    .join(`\n${'-'.repeat(72)}\n\n`);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  await bundle();
  console.log(`made ${relative(process.cwd(), folderOf(project))}`);
}
