import { type GuestReport, reportMark } from './story-plan.ts';

/** Of the console, for a person who looks at a failure. */
const textLettersMax = 65_536;

/** Takes the guest's reports out of what comes over its console. */
export class ConsoleReports {
  readonly reports: GuestReport[] = [];
  #text = '';
  #line = '';

  /** The end of everything that came. */
  get text(): string {
    return this.#text;
  }

  /** The reports that are complete with this text. */
  take(text: string): GuestReport[] {
    this.note(text);
    const lines = (this.#line + text).split(/\r*\n/);
    this.#line = lines.pop()!;
    const reports = lines.map(reportIn).filter((report) => report !== undefined);
    this.reports.push(...reports);
    return reports;
  }

  /** Text that has no reports. */
  note(text: string): void {
    this.#text = (this.#text + text).slice(-textLettersMax);
  }
}

/** Undefined where the machine died within the line; what it was to say is then missing, and found to be. */
function reportIn(line: string): GuestReport | undefined {
  const at = line.indexOf(reportMark);
  if (at < 0) return undefined;
  try {
    return JSON.parse(line.slice(at + reportMark.length));
  } catch {
    return undefined;
  }
}
