import { onlyAsks } from '../../remap/message/suspended-messages.ts';
import type { DeviceEvent } from '../event-kinds.ts';

/**
 * The event that a message is, once answered; `failure` is empty when it was done. Undefined for questions: whoever watches
 * a device asks every second. What is sent to main's table is recorded whatever it says.
 */
export function eventOfMessage(
  sector: number,
  words: readonly string[],
  failure: string,
): DeviceEvent | undefined {
  if (words[0] !== 'main' && onlyAsks(words)) return undefined;
  const [verb, policy, value] = words;
  if (verb === 'policy' && failure === '' && policy !== undefined && value !== undefined)
    return { kind: 'policy-changed', policy, value };
  return { kind: 'message', sector, words, failure };
}
