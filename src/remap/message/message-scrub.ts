import type { MessageContext } from './message-context.ts';
import { MessageError } from './message-error.ts';

/** Words behind `scrub` that change nothing. */
export const scrubLooks: readonly string[] = ['status'];

/** `scrub [status|start|pause|resume|stop]`. */
export async function answerScrub({ scrub }: MessageContext, words: readonly string[]): Promise<string> {
  if (scrub !== undefined) return await scrub(words);
  throw new MessageError('MESSAGE_FAILED', 'scrub: nobody scrubs this device: serve it with its spare');
}
