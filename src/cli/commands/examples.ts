/** The last part of a command's help; each line without the program's name. */
export function examples(...lines: readonly string[]): string {
  return shellExamples(...lines.map((line) => `dm-remap ${line}`));
}

/** As `examples`, for lines that begin with other programs too. */
export function shellExamples(...lines: readonly string[]): string {
  return `\nExamples:\n${lines.map((line) => `  ${line}`).join('\n')}`;
}
