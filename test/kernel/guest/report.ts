import { writeSync } from 'node:fs';
import { type GuestReport, reportMark } from '../story-plan.ts';

/** One line to the console; the host has it when this returns. */
export function report(line: GuestReport): void {
  const bytes = Buffer.from(`\n${reportMark}${JSON.stringify(line)}\n`);
  for (let at = 0; at < bytes.length; ) at += writeSync(1, bytes, at);
}
