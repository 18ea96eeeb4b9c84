/** The last word of an identity's key `file 8:1 1234`; empty for others. Lasts over boots, unlike the rest. */
export function inodeOf(key: string): string {
  return key.startsWith('file ') ? (key.split(' ')[2] ?? '') : '';
}
