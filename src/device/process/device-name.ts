/** Longest name of a device: it is a folder's name and part of socket paths, which the kernel limits to 107 bytes. */
export const deviceNameLengthMax = 64;

const allowed = /^[A-Za-z0-9_][A-Za-z0-9._-]*$/;

/** Why a text cannot name a device, or undefined when it can. */
export function invalidDeviceName(name: string): string | undefined {
  if (name.length === 0) return 'the name is empty';
  if (name.length > deviceNameLengthMax) {
    return `the name has ${name.length} characters, at most ${deviceNameLengthMax} are allowed`;
  }
  if (name.startsWith('.') || name.startsWith('-')) return 'the name may not start with . or -';
  if (!allowed.test(name)) return 'the name may only hold letters, digits, and the characters . _ -';
  return undefined;
}
