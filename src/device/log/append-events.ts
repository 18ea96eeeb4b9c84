import type { DeviceEvent } from '../event-kinds.ts';
import type { HostState } from '../host/host-state.ts';
import { eventFileBytesMax, eventFilePath } from './event-log-file.ts';
import { type EventOrigin, encodeEvent, lastSequence } from './event-record.ts';
import { RotatingFile } from './rotating-file.ts';

/** Appends what a command found to the log of a device that nobody serves. Rejects with the system's error. */
export async function appendEvents(
  hostState: HostState,
  origin: EventOrigin,
  unixMs: number,
  events: readonly DeviceEvent[],
): Promise<void> {
  if (events.length === 0) return;
  let sequence = 0;
  const file = new RotatingFile({
    path: async () => {
      await hostState.makeFolder(origin.uuid);
      return eventFilePath(hostState, origin.uuid);
    },
    bytesMax: eventFileBytesMax,
    onTail: (text) => {
      sequence = Math.max(sequence, lastSequence(text));
    },
  });
  await file.open();
  try {
    const lines = events.map((event) => {
      sequence += 1;
      return encodeEvent(event, origin, sequence, unixMs);
    });
    await file.write(Buffer.from(lines.join('')));
  } finally {
    await file.close();
  }
}
