import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { progressBar, progressText, scrubLine, scrubText } from '../../../src/cli/text/scrub-text.ts';
import type { ScrubStatus } from '../../../src/device/messages.ts';
import { exampleStatus } from '../../control/example-status.ts';

const running: ScrubStatus = exampleStatus.scrub!;

describe('a scrub, for people', () => {
  it('is a bar as long as it is far, of one width', () => {
    const at = (positionBytes: number): string => progressBar({ ...running, positionBytes });
    assert.equal(at(0), '[>                       ]');
    assert.equal(at(running.sizeBytes / 2), '[============>           ]');
    assert.equal(at(running.sizeBytes), '[========================]');
    assert.equal(progressBar({ ...running, sizeBytes: 0, positionBytes: 0 }), at(0));
  });

  it('is how far, how fast, how long still, and what was found', () => {
    assert.equal(progressText(running), '25 % (64 MiB of 256 MiB), 100 MiB/s, 2 s left, 1 bad, 1 saved');
    assert.equal(
      progressText({ ...running, state: 'paused', secondsLeft: null, bytesPerSecond: 0 }),
      '25 % (64 MiB of 256 MiB), 1 bad, 1 saved',
    );
  });

  it('says what it waits for, and why it is paused', () => {
    assert.match(
      scrubLine({ ...running, waitsFor: 'main' }),
      /^running \(waits: main does not answer\), 25 %/,
    );
    assert.match(
      scrubLine({ ...running, state: 'paused', pauseReason: 'storm' }),
      /^paused \(main failed everything it was asked for\), 25 %/,
    );
  });

  it('is the last one when there is none, and never when there was none', () => {
    const idle = { ...running, state: 'idle' } as const;
    assert.equal(scrubLine(idle), 'finished 2023-11-03 08:26:43 UTC, nothing bad');
    assert.equal(scrubLine({ ...idle, ended: [] }), 'never');
    assert.equal(
      scrubText('old-disk', idle),
      [
        'old-disk: scrub idle',
        '  slow      half of the reads of main take no more than 8.0 ms, slow is 200 ms',
        '  ENDED                    HOW       TOOK  MAIN     SLOTS    FOUND',
        '  2023-11-03 08:26:43 UTC  finished  3 s   256 MiB  0 bytes  nothing bad',
      ].join('\n'),
    );
  });

  it('has the time that is left in the two largest units', () => {
    const left = (secondsLeft: number): string | undefined =>
      /, ([^,]+) left/.exec(progressText({ ...running, secondsLeft }))?.[1];
    assert.deepEqual([8, 70, 3_600 + 60, 86_400 * 2 + 3_600].map(left), [
      '8 s',
      '1 min 10 s',
      '1 h 1 min',
      '2 d 1 h',
    ]);
  });
});
