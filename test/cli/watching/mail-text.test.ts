import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as fc from 'fast-check';
import { ExitCode } from '../../../src/cli/exit-code.ts';
import { failureOf } from '../../../src/cli/failure.ts';
import { mailReceiver } from '../../../src/cli/watching/mail-receiver.ts';
import { mailLinesMax, mailText } from '../../../src/cli/watching/mail-text.ts';
import { alertNumber } from './alerts.ts';

const mail = { to: ['root'], hostName: 'server', omitted: 0, unixMs: 1_795_202_764_000 };

/** Any, those that are commands to a terminal too; `binary` of fast-check takes three seconds to begin. */
const letter = fc.integer({ min: 0, max: 0x2fff }).map((code) => String.fromCharCode(code));

test('a mail says where, on what, the worst in its subject, and how to see more', () => {
  const alerts = [
    alertNumber(1, { text: '3 granules moved' }),
    alertNumber(2, { device: 'other', level: 'error', text: '1 sector lost for good' }),
  ];
  assert.equal(
    mailText({ ...mail, to: ['root', 'a@example.org'], alerts }),
    `To: root, a@example.org
Subject: dm-remap on server: other: 1 sector lost for good (and 1 more)
Date: Fri, 20 Nov 2026 19:26:04 +0000
Auto-Submitted: auto-generated
MIME-Version: 1.0
Content-Type: text/plain; charset=utf-8
Content-Transfer-Encoding: 8bit

This is dm-remap monitor on server.

disk:
  2026-11-20T19:26:04.001Z warn  3 granules moved

other:
  2026-11-20T19:26:04.002Z error 1 sector lost for good

How things stand now: dm-remap status
`,
  );
});

test('a mail is bounded, and says how many it leaves out', () => {
  const alerts = Array.from({ length: mailLinesMax + 5 }, (_, at) => alertNumber(at));
  const text = mailText({ ...mail, alerts, omitted: 10 });
  assert.equal(text.match(/^ {2}20/gm)?.length, mailLinesMax);
  assert.match(text, /^And 15 more: dm-remap events$/m);
  assert.match(text, /\(and 114 more\)$/m);
});

test('whatever a disk or a name says, a mail has one header, and lines that mail servers take', () => {
  const words = fc.string({ unit: letter, maxLength: 300 }).map((text) => text.replace(/\p{Cc}+/gu, ' '));
  fc.assert(
    fc.property(words, words, fc.integer({ min: 1, max: 20 }), (text, device, times) => {
      const sent = mailText({ ...mail, alerts: [alertNumber(1, { text: text.repeat(times), device })] });
      const [header = ''] = sent.split('\n\n', 1);
      assert.equal(header.split('\n').length, 7);
      assert.match(header, /^[ -~\n]*$/, 'printable ASCII');
      for (const line of sent.split('\n')) {
        if (line.startsWith('  2')) assert.ok(Buffer.byteLength(line) <= 998, `${Buffer.byteLength(line)}`);
      }
    }),
    { numRuns: 30 },
  );
});

test('what is no address is refused before anything is told', () => {
  for (const address of ['', '-oQ/tmp', 'a b', 'a\nBcc: x', 'a;b', 'root,', '"x"']) {
    assert.throws(
      () => mailReceiver(address, 'server', ''),
      (error) => failureOf(error).exitCode === ExitCode.usage,
      address,
    );
  }
});
