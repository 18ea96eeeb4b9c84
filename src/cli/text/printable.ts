/**
 * Text as it may go to a terminal: what a terminal obeys, but for line ends and tabs, becomes its number. Names, serials and
 * labels come from disks that others have written. In a text of JSON it stands for the same character.
 */
export function printable(text: string): string {
  return text.replace(
    /[^\P{Cc}\n\t]/gu,
    (control) => `\\u${control.charCodeAt(0).toString(16).padStart(4, '0')}`,
  );
}
