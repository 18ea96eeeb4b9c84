import assert from 'node:assert/strict';
import { EventEmitter } from 'node:events';
import process from 'node:process';
import { test } from 'node:test';
import { FullScreen } from '../../../src/cli/top/full-screen.ts';
import type { Key } from '../../../src/cli/top/keys.ts';
import { screenLines } from '../../../src/cli/top/screen.ts';
import { plainText } from '../../../src/cli/top/span.ts';
import { TerminalPicture } from './terminal-picture.ts';
import { exampleMap, exampleView, viewOf } from './views.ts';

class FakeInput extends EventEmitter {
  raw = false;

  setRawMode(raw: boolean): void {
    this.raw = raw;
  }

  setEncoding(): void {}
  resume(): void {}
  pause(): void {}
}

class FakeOutput extends EventEmitter {
  readonly picture: TerminalPicture = new TerminalPicture(80, 24);

  get columns(): number {
    return this.picture.columns;
  }

  get rows(): number {
    return this.picture.rows;
  }

  write(text: string): void {
    this.picture.write(text);
  }
}

interface Lab {
  readonly screen: FullScreen;
  readonly input: FakeInput;
  readonly output: FakeOutput;
  readonly keys: Key[];
  readonly stops: () => number;
}

function labOf(colours: boolean, onStop: (lab: Lab) => void = () => undefined): Lab {
  const input = new FakeInput();
  const output = new FakeOutput();
  const keys: Key[] = [];
  let stops = 0;
  const view = viewOf([exampleView({ map: exampleMap })]);
  const screen: FullScreen = new FullScreen({
    output,
    input,
    colours,
    onKey: (key) => keys.push(key),
    onRedraw: () => screen.draw(screenLines(view, screen.size)),
    stop: () => {
      stops += 1;
      onStop(lab);
    },
  });
  const lab: Lab = { screen, input, output, keys, stops: () => stops };
  return lab;
}

function assertGivenBack({ input, output }: Lab): void {
  const { alternate, cursorShown, wraps, styled, unknown } = output.picture;
  assert.deepEqual(
    { alternate, cursorShown, wraps, styled, raw: input.raw, unknown },
    {
      alternate: false,
      cursorShown: true,
      wraps: true,
      styled: false,
      raw: false,
      unknown: [],
    },
  );
  assert.equal(input.listenerCount('data') + output.listenerCount('resize'), 0);
}

test('what is drawn is what stands on the terminal, with and without colours, also after it was made smaller', () => {
  for (const colours of [true, false]) {
    const lab = labOf(colours);
    const { screen, output } = lab;
    const view = viewOf([exampleView({ map: exampleMap })]);
    screen.enter();
    assert.equal(lab.input.raw, true);
    screen.draw(screenLines(view, screen.size));
    const seen = [...output.picture.lines];
    const wanted = screenLines(view, screen.size).map(plainText);
    assert.ok(wanted.length < seen.length, 'there is more room');
    assert.deepEqual(seen.slice(0, wanted.length), wanted);
    assert.ok(seen.slice(wanted.length).every((line) => line === ''));
    output.picture.resize(30, 6);
    output.emit('resize');
    assert.deepEqual(output.picture.lines, screenLines(view, { columns: 30, rows: 6 }).map(plainText));
    assert.equal(output.picture.lines.at(-1), 'q quit  p pause');
    assert.equal(output.picture.clipped, 0);
    screen.leave();
    screen.leave();
    assertGivenBack(lab);
    assert.equal(output.picture.styled, false);
  }
});

test('without colours not one sequence is about colour', () => {
  const output = new FakeOutput();
  let sent = '';
  output.write = (text: string): void => {
    sent += text;
  };
  const screen = new FullScreen({
    output,
    input: undefined,
    colours: false,
    onKey: () => 0,
    onRedraw: () => 0,
    stop: () => 0,
  });
  screen.enter();
  screen.draw(screenLines(viewOf([exampleView({ map: exampleMap })]), screen.size));
  assert.doesNotMatch(sent, /\[[0-9;]*m/);
  screen.leave();
});

test('the terminal is given back when the process exits, however it comes to that', () => {
  const lab = labOf(true);
  lab.screen.enter();
  const listeners = process.listeners('exit');
  const ours = listeners.at(-1);
  assert.ok(ours !== undefined);
  ours(1);
  assertGivenBack(lab);
  assert.equal(process.listeners('exit').length, listeners.length - 1, 'nothing is left to be told');
});

test('control-Z gives it back while the process is stopped, and takes it again', () => {
  const lab = labOf(true, assertGivenBack);
  lab.screen.enter();
  lab.input.emit('data', 'p\u001a\u001b[C');
  assert.deepEqual(lab.keys, ['pause', 'next']);
  assert.equal(lab.stops(), 1);
  assert.equal(lab.output.picture.alternate, true);
  assert.match(lab.output.picture.lines[0]!, /^dm-remap top/, 'drawn anew');
  lab.screen.leave();
  assertGivenBack(lab);
});
