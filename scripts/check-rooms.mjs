// The rules about who may import whom, and what the pure rooms may touch. layers.json says which rooms there are.

import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { join, posix, relative, sep } from 'node:path';
import { importsOf, lineOf, maskSource } from './source-scanner.mjs';

/** Longer files of src/ are mentioned, not refused: nearly always two things live in them. */
const fileLinesMax = 400;

/** What makes a run of the same code differ from the last: time, chance, the world. Pure rooms get them by interface. */
const impureNames = [
  'Date',
  'performance',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'process',
  'nextTick',
  'queueMicrotask',
  'crypto',
  'WeakRef',
  'FinalizationRegistry',
  'console',
  'globalThis',
];
const impureMembers = [
  ['Math', 'random'],
  ['AbortSignal', 'timeout'],
];

/** Source files below `folder` of `root`, as paths with `/` relative to `root`. */
function sourcesBelow(root, folder) {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile() && /\.(ts|mts|cts|tsx)$/.test(entry.name))
    .map((entry) =>
      relative(root, join(entry.parentPath ?? entry.path, entry.name))
        .split(sep)
        .join('/'),
    )
    .sort();
}

function readSources(root) {
  const files = new Map();
  for (const path of ['src', 'bench', 'demo'].flatMap((folder) => sourcesBelow(root, folder))) {
    const text = readFileSync(join(root, path), 'utf8');
    const imports = importsOf(text).map((one) => ({ ...one, target: resolveImport(path, one.specifier) }));
    files.set(path, { text, imports });
  }
  return files;
}

/** The file a relative import means, as a path relative to the root; undefined for packages. */
function resolveImport(path, specifier) {
  if (specifier === undefined || !/^\.{1,2}(\/|$)/.test(specifier)) return undefined;
  return posix.join(posix.dirname(path), specifier);
}

/** `src/remap/a.ts` is in room `remap`; a file directly in src/ is in none. */
function roomOf(path) {
  return /^src\/([^/]+)\//.exec(path)?.[1];
}

/** Does a list of rooms and of single files contain this file? */
function listed(list, path) {
  return list.some((entry) => path === `src/${entry}` || path.startsWith(`src/${entry}/`));
}

function* layerProblems(files, layers) {
  for (const [path, { imports }] of files) {
    const room = roomOf(path);
    const rules = room === undefined ? undefined : layers.rooms[room];
    if (room !== undefined && rules === undefined) {
      yield { path, line: 1, problem: `room ${room} is not in layers.json` };
    }
    for (const { specifier, target, line } of imports) {
      if (target === undefined) continue;
      if (path.startsWith('src/') && !target.startsWith('src/')) {
        yield { path, line, problem: `imports ${specifier}, which is outside of src/` };
        continue;
      }
      const targetRoom = roomOf(target);
      if (targetRoom === 'simulator' && room !== 'simulator') {
        yield { path, line, problem: `imports ${target}: nobody imports the simulator` };
      } else if (rules !== undefined && targetRoom !== room && !listed(rules.imports, target)) {
        const allowed = rules.imports.length === 0 ? 'nothing' : rules.imports.join(', ');
        yield { path, line, problem: `imports ${target}; room ${room} may import ${allowed}` };
      }
    }
  }
}

function* packageProblems(root, files) {
  const description = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));
  const dependencies = Object.keys(description.dependencies ?? {});
  for (const [path, { imports }] of files) {
    for (const { specifier, target, line, typeOnly } of imports) {
      if (specifier === undefined || target !== undefined || specifier.startsWith('node:')) continue;
      const name = specifier
        .split('/')
        .slice(0, specifier.startsWith('@') ? 2 : 1)
        .join('/');
      if (name === 'koffi' && !path.startsWith('src/linux/')) {
        yield { path, line, problem: 'imports koffi; only src/linux may, others use what it exports' };
      } else if (path.startsWith('src/') && !typeOnly && !dependencies.includes(name)) {
        yield {
          path,
          line,
          problem: `imports ${specifier}, which is not in the dependencies of package.json`,
        };
      }
    }
  }
}

/** Strongly connected files, found by Tarjan's walk; each cycle is told once, starting at its first file. */
function* cycleProblems(files) {
  const index = new Map();
  const low = new Map();
  const stack = [];
  const cycles = [];
  const targetsOf = (path) =>
    (files.get(path)?.imports ?? [])
      .map((one) => one.target)
      .filter((target) => target !== undefined && files.has(target));
  const visit = (path) => {
    index.set(path, index.size);
    low.set(path, index.get(path));
    stack.push(path);
    for (const target of targetsOf(path)) {
      if (!index.has(target)) {
        visit(target);
        low.set(path, Math.min(low.get(path), low.get(target)));
      } else if (stack.includes(target)) {
        low.set(path, Math.min(low.get(path), index.get(target)));
      }
    }
    if (low.get(path) !== index.get(path)) return;
    const members = stack.splice(stack.indexOf(path));
    if (members.length > 1 || targetsOf(path).includes(path)) cycles.push(members.sort());
  };
  for (const path of files.keys()) if (!index.has(path)) visit(path);
  for (const members of cycles) {
    yield { path: members[0], line: 1, problem: `import cycle: ${[...members, members[0]].join(' -> ')}` };
  }
}

/** Places of `let` and `var` outside of every brace, bracket and parenthesis. */
function moduleVariables(code) {
  const places = [];
  let depth = 0;
  for (const match of code.matchAll(/[([{]|[)\]}]|(?<![\w$.#])(?:let|var)\b/g)) {
    if (/[([{]/.test(match[0])) depth += 1;
    else if (/[)\]}]/.test(match[0])) depth -= 1;
    else if (depth === 0) places.push(match.index);
  }
  return places;
}

/** `{ Date: 1 }`, `x.process` and `#process` are names of somebody else's things; `Date(` and `new Date` are the world's. */
function placesOfName(code, name) {
  return [...code.matchAll(new RegExp(`(?<![\\w$#]|(?<!\\.\\.)\\.\\s*)${name}(?![\\w$])(?!\\s*:)`, 'g'))].map(
    (match) => match.index,
  );
}

function* purityProblems(files, layers) {
  const exceptions = layers.pureExceptions ?? {};
  for (const [path, { text, imports }] of files) {
    if (!listed(layers.pure, path)) continue;
    const allowed = exceptions[path.replace(/^src\//, '')] ?? [];
    const { code } = maskSource(text);
    const at = (place, problem) => ({
      path,
      line: lineOf(text, place),
      problem: `${problem} in a pure room`,
    });
    for (const name of impureNames) {
      if (allowed.includes(name)) continue;
      for (const place of placesOfName(code, name)) yield at(place, name);
    }
    for (const [owner, member] of impureMembers) {
      if (allowed.includes(`${owner}.${member}`)) continue;
      const form = new RegExp(`(?<![\\w$.#])${owner}\\s*(\\?\\.|\\.)\\s*${member}(?![\\w$])`, 'g');
      for (const match of code.matchAll(form)) yield at(match.index, `${owner}.${member}`);
    }
    for (const place of moduleVariables(code)) yield at(place, 'a variable of the module (let or var)');
    for (const { specifier, line, dynamic, typeOnly } of imports) {
      if (dynamic) yield { path, line, problem: 'dynamic import in a pure room' };
      else if (specifier?.startsWith('node:') && !typeOnly && !allowed.includes(specifier)) {
        yield { path, line, problem: `imports ${specifier} in a pure room` };
      }
    }
  }
}

/** The table of rooms as docs/architecture.md shows it. */
function roomTable(layers) {
  const rows = Object.entries(layers.rooms).map(([room, { purpose, imports }]) => {
    const names = imports.map((name) => (name.includes('/') ? `\`${name}\`` : name));
    return `| \`${room}\` | ${purpose} | ${names.length === 0 ? '–' : names.join(' ')} |`;
  });
  return ['| room | purpose | may import |', '|---|---|---|', ...rows].join('\n');
}

/** The page that people read must say what is enforced. A tree without the page has nothing to compare. */
function* documentProblems(root, layers) {
  const path = 'docs/architecture.md';
  if (!existsSync(join(root, path))) return;
  const text = readFileSync(join(root, path), 'utf8');
  const shown = /<!-- layers -->\n([\s\S]*?)\n<!-- \/layers -->/.exec(text)?.[1];
  if (shown === roomTable(layers)) return;
  const expected = roomTable(layers);
  yield { path, line: 1, problem: `its table of rooms is not layers.json's; it should be:\n${expected}` };
}

/** Every rule about rooms over the tree at `root`. `problems` fail a run, `remarks` are only told. */
export function checkRooms(root) {
  const layers = JSON.parse(readFileSync(join(root, 'layers.json'), 'utf8'));
  const files = readSources(root);
  const problems = [
    ...layerProblems(files, layers),
    ...packageProblems(root, files),
    ...cycleProblems(files),
    ...purityProblems(files, layers),
    ...documentProblems(root, layers),
  ];
  const remarks = [];
  for (const [path, { text }] of files) {
    const lines = text.split('\n').length - 1;
    if (path.startsWith('src/') && lines > fileLinesMax) {
      remarks.push({ path, line: lines, problem: `${lines} lines, more than ${fileLinesMax}: split it` });
    }
  }
  return { problems, remarks, fileCount: files.size };
}
