import { MessageError } from '../remap/message/message-error.ts';
import { countsText, type ScrubCounts } from './scrub-counts.ts';
import type { ScrubReport } from './scrub-status.ts';
import type { Scrubber } from './scrubber.ts';

/** `scrub`, `scrub status|start|pause|resume|stop`. Rejects with `MessageError`. */
export async function answerScrubWords(scrubber: Scrubber, words: readonly string[]): Promise<string> {
  const [verb = 'status', ...more] = words;
  if (more.length > 0) throw invalid(`scrub ${verb} takes no words, got '${more.join(' ')}'`);
  if (verb === 'status') return reportText(scrubber.report());
  const done = doWord(scrubber, verb);
  await scrubber.saved();
  return done;
}

function doWord(scrubber: Scrubber, verb: string): string {
  switch (verb) {
    case 'start':
      if (scrubber.start('operator')) return 'scrub: started';
      throw failed(
        scrubber.state === 'paused'
          ? 'scrub: one is paused: resume or stop it'
          : 'scrub: one is running already',
      );
    case 'pause':
      if (scrubber.pause('operator')) return 'scrub: paused';
      throw failed(`scrub: none is running, it is ${scrubber.state}`);
    case 'resume':
      if (scrubber.resume('operator')) return 'scrub: resumed';
      throw failed(`scrub: none is paused, it is ${scrubber.state}`);
    case 'stop':
      if (scrubber.stop()) return 'scrub: stopped';
      throw failed('scrub: there is none to stop');
    default:
      throw invalid(`scrub: unknown word '${verb}', expected status, start, pause, resume or stop`);
  }
}

/** `NAME VALUE` a line. */
function reportText(report: ScrubReport): string {
  const { state, pauseReason, waitsFor, positionBytes, sizeBytes, counts, secondsLeft, ended } = report;
  const last = ended[0];
  return [
    `state ${state}`,
    ...(pauseReason === '' ? [] : [`paused-by ${pauseReason}`]),
    ...(waitsFor === '' ? [] : [`waits-for ${waitsFor}`]),
    `position-bytes ${positionBytes}`,
    `size-bytes ${sizeBytes}`,
    ...countLines(counts),
    `bytes-per-second ${report.bytesPerSecond}`,
    `seconds-left ${secondsLeft ?? 'none'}`,
    ...(last === undefined ? [] : [`last ${last.end} ${last.endedUnixSeconds} ${countsText(last.counts)}`]),
  ].join('\n');
}

function countLines(counts: Readonly<ScrubCounts>): readonly string[] {
  return Object.entries(counts).map(
    ([name, count]) => `${name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)} ${count}`,
  );
}

function invalid(message: string): MessageError {
  return new MessageError('MESSAGE_INVALID', message);
}

function failed(message: string): MessageError {
  return new MessageError('MESSAGE_FAILED', message);
}
