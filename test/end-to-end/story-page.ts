import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

/** Commands that a page tells people to type, and what it says they will see. */
export interface StoryStep {
  /** What happens to the disks before, in the page's hidden words; empty: nothing. */
  readonly meanwhile: string;
  readonly commands: readonly string[];
  /** Lines of the output, in their order; `…` stands for anything. Those of the page need not be all. */
  readonly seen: readonly string[];
}

/** The steps of one section of docs/operations.md. */
export function stepsOf(title: string): readonly StoryStep[] {
  const page = readFileSync(fileURLToPath(new URL('../../../docs/operations.md', import.meta.url)), 'utf8');
  const section = page.split(/^### /m).find((part) => part.startsWith(`${title}\n`));
  assert.ok(section !== undefined, `docs/operations.md has no story "${title}"`);
  const blocks = section.matchAll(
    /(?:^<!-- meanwhile: ([^\n]*) -->\n)?^```sh\n(.*?)^```\n(?:```text\n(.*?)^```\n)?/gms,
  );
  return [...blocks].map(([, meanwhile = '', commands = '', seen = '']) => ({
    meanwhile,
    commands: commands.trimEnd().split('\n'),
    seen: seen === '' ? [] : seen.trimEnd().split('\n'),
  }));
}

/** Titles of the stories, as the page has them. */
export function storyTitles(): readonly string[] {
  const page = readFileSync(fileURLToPath(new URL('../../../docs/operations.md', import.meta.url)), 'utf8');
  const stories = page.split(/^## /m).find((part) => part.startsWith('Stories\n')) ?? '';
  return [...stories.matchAll(/^### (.*)$/gm)].map(([, title = '']) => title);
}

/** Fails unless the lines of the page come in the output, each behind the one before it. */
export function assertSeen(output: string, { seen, commands }: StoryStep): void {
  const lines = output.split('\n');
  let at = 0;
  for (const wanted of seen) {
    const pattern = new RegExp(`^${wanted.split('…').map(escaped).join('.*')}$`);
    const found = lines.slice(at).findIndex((line) => pattern.test(line.trim()));
    assert.ok(found >= 0, `"${wanted}" is not in what ${commands.join('; ')} printed:\n${output}`);
    at += found + 1;
  }
}

function escaped(text: string): string {
  return text.trim().replaceAll(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
