import assert from 'node:assert/strict';
import { test } from 'node:test';
import { helpOf, readReference, referenceWithHelp, verbsOfProgram } from './command-reference.ts';
import { assertShape, jsonShapes } from './json-shapes.ts';

const howToUpdate = 'run node dist/test/cli/write-command-reference.js and read what it changed';

test('docs/cli.md has a box for every verb, and none for a verb that is not there', () => {
  const boxes = [...readReference().matchAll(/^### (.+)\n\n<!-- help: (.+) -->$/gm)];
  for (const [, heading, words] of boxes) assert.equal(heading, words);
  const verbs = [...verbsOfProgram().keys()];
  assert.deepEqual(new Set(boxes.map(([, words]) => words)), new Set(verbs));
  assert.equal(boxes.length, verbs.length);
});

test('the boxes of docs/cli.md are what the program prints', () => {
  const page = readReference();
  assert.equal(page, referenceWithHelp(page), howToUpdate);
});

test('the help of every verb fits a terminal and gives examples', () => {
  for (const [words, command] of verbsOfProgram()) {
    const help = helpOf(command);
    const shown = help.slice(help.indexOf('\nExamples:\n'));
    assert.ok(shown.startsWith('\nExamples:\n') && shown.includes(`dm-remap ${words}`), words);
    for (const line of help.split('\n')) assert.ok(line.length <= 80, `${words}: ${line}`);
  }
});

test('every shape of JSON has an example in docs/cli.md that has it', () => {
  const examples = new Map(
    [...readReference().matchAll(/^```json (\S+)\n(.*?)^```$/gms)].map(([, shape, text]) => [shape, text]),
  );
  const shown = [...jsonShapes.keys()].filter((shape) => shape !== 'status-watch');
  assert.deepEqual(new Set(examples.keys()), new Set(shown));
  for (const [shape, text] of examples) assertShape(shape ?? '', text ?? '');
});
