import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe } from 'node:test';
import { ArenaMemory } from '../../src/io/arena-memory.ts';
import { type EngineChoice, engineChoices, type IoEngine } from '../../src/io/io-engine.ts';
import { NodeEngine } from '../../src/io/node-engine.ts';
import { UringEngine } from '../../src/io/uring-engine.ts';

const mebibyte = 1024 * 1024;
export const testFileBytes: number = 4 * mebibyte;

/** The same tests on both engines. */
export function describeOnEngines(title: string, tests: (choice: EngineChoice) => void): void {
  for (const choice of engineChoices) {
    describe(`${title} on ${choice}`, { timeout: 20_000 }, () => tests(choice));
  }
}

/** One engine with memory of its own, and files and pipes for it. */
export class EngineFixture<Engine extends IoEngine> {
  readonly memory: ArenaMemory;
  readonly engine: Engine;
  readonly #directory: string = mkdtempSync(join(tmpdir(), 'dm-remap-test-'));
  readonly #descriptors: number[] = [];

  constructor(newEngine: (memory: ArenaMemory) => Engine) {
    this.memory = new ArenaMemory({
      arenaBytes: 8 * mebibyte,
      remapBytes: 4096,
      metadataBytes: 4096,
      poison: true,
    });
    this.engine = newEngine(this.memory);
  }

  take(length: number): Uint8Array {
    const piece = this.memory.arena.take(length, 'client');
    assert.ok(piece);
    return piece;
  }

  openFile(flags: number = constants.O_RDWR): number {
    const path = join(this.#directory, `file-${this.#descriptors.length}`);
    writeFileSync(path, new Uint8Array(testFileBytes));
    return this.#opened(openSync(path, flags));
  }

  /** Both ends of a pipe in one descriptor: a read waits until somebody writes. */
  openPipe(): number {
    const path = join(this.#directory, `pipe-${this.#descriptors.length}`);
    execFileSync('mkfifo', [path]);
    return this.#opened(openSync(path, constants.O_RDWR));
  }

  async dispose(): Promise<void> {
    await this.engine.close();
    assert.equal(this.memory.arena.usedBytes, 0, 'the arena is empty');
    this.memory.close();
    for (const fd of this.#descriptors) closeSync(fd);
    rmSync(this.#directory, { recursive: true });
  }

  #opened(fd: number): number {
    this.#descriptors.push(fd);
    return fd;
  }
}

export function engineFixture(choice: EngineChoice): EngineFixture<IoEngine> {
  return new EngineFixture(
    (memory): IoEngine => (choice === 'uring' ? new UringEngine({ memory }) : new NodeEngine({ memory })),
  );
}
