import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { applyFilePatch, type MutationPatch, MutationPatchError } from './mutation-patch.ts';

export const project: string = fileURLToPath(new URL('../../../', import.meta.url));

/**
 * Makes compiled copies of the project with one bug each. All are compiled by one run of the compiler, which sees each
 * mutated file beside the sources it belongs to (`rootDirs`) and checks its types: a mutant that does not compile is no
 * finding. That takes 0.2 s for all; a whole build for each would take 1.6 s.
 */
export class MutantWorkshop implements Disposable {
  readonly #folder: string;
  /** Why a mutant cannot be built, by its name: one line each. */
  readonly #problems = new Map<string, string>();

  constructor(patches: readonly MutationPatch[]) {
    this.#folder = mkdtempSync(join(tmpdir(), 'dm-remap-mutants-'));
    try {
      writeFileSync(join(this.#folder, 'package.json'), '{"type":"module"}');
      symlinkSync(join(project, 'node_modules'), join(this.#folder, 'node_modules'));
      const fitting = patches.filter((patch) => this.#writeSources(patch));
      this.#compile(fitting);
    } catch (error) {
      this[Symbol.dispose]();
      throw error;
    }
  }

  [Symbol.dispose](): void {
    rmSync(this.#folder, { recursive: true, force: true });
  }

  /**
   * A compiled copy with this bug, or an unmutated one; the folder has what `dist` has, without end-to-end tests. Throws a
   * `MutationPatchError` of one line when the sources have changed under the patch.
   */
  build(patch: MutationPatch | undefined): string {
    const problem = patch === undefined ? undefined : this.#problems.get(patch.name);
    if (problem !== undefined) throw new MutationPatchError(problem);
    const copy = join(this.#folder, 'copies', patch?.name ?? 'unmutated');
    for (const part of ['src', 'test']) {
      cpSync(join(project, 'dist', part), join(copy, part), {
        recursive: true,
        filter: (path) => !/\.(?:map|d\.ts|test\.js)$|end-to-end/.test(path),
      });
    }
    for (const { path } of patch?.files ?? []) {
      const compiled = path.replace(/\.ts$/, '.js');
      cpSync(join(this.#folder, 'compiled', this.#mutated(patch!.name), compiled), join(copy, compiled));
    }
    return copy;
  }

  discard(copy: string): void {
    rmSync(copy, { recursive: true, force: true });
  }

  #mutated(name: string): string {
    return join(this.#folder, 'mutated', name);
  }

  #writeSources(patch: MutationPatch): boolean {
    try {
      for (const file of patch.files) {
        const source = applyFilePatch(patch.name, file, readSource(patch.name, file.path));
        const target = join(this.#mutated(patch.name), file.path);
        mkdirSync(dirname(target), { recursive: true });
        writeFileSync(target, source);
      }
      return true;
    } catch (error) {
      if (!(error instanceof MutationPatchError)) throw error;
      this.#problems.set(patch.name, error.message);
      return false;
    }
  }

  #compile(patches: readonly MutationPatch[]): void {
    const configuration = {
      extends: join(project, 'tsconfig.json'),
      compilerOptions: {
        rootDir: '/',
        rootDirs: [project, ...patches.map(({ name }) => this.#mutated(name))],
        outDir: join(this.#folder, 'compiled'),
        typeRoots: [join(project, 'node_modules', '@types')],
        declaration: false,
        isolatedDeclarations: false,
        sourceMap: false,
        // What a bug leaves out is often all that used an import.
        noUnusedLocals: false,
        noUnusedParameters: false,
      },
      include: ['mutated/**/*.ts'],
    };
    const path = join(this.#folder, 'tsconfig.json');
    writeFileSync(path, JSON.stringify(configuration));
    const compiler = join(project, 'node_modules', 'typescript', 'bin', 'tsc');
    const { status, stdout, stderr } = spawnSync(
      process.execPath,
      [compiler, '--pretty', 'false', '-p', path],
      { cwd: this.#folder, encoding: 'utf8' },
    );
    for (const [, name, problem] of stdout.matchAll(/^mutated\/([^/]+)\/(.*)$/gm)) {
      // One that does not fit is written in part, and would be said not to compile.
      if (!this.#problems.has(name!)) {
        this.#problems.set(name!, `test/mutations/${name}.patch does not compile: ${problem}`);
      }
    }
    if (status !== 0 && this.#problems.size === 0) {
      throw new MutationPatchError(`the compiler failed: ${stdout}${stderr}`);
    }
  }
}

function readSource(name: string, path: string): string {
  try {
    return readFileSync(join(project, path), 'utf8');
  } catch {
    throw new MutationPatchError(
      `test/mutations/${name}.patch no longer fits: there is no ${path}: find where its code went and adapt the patch`,
    );
  }
}
