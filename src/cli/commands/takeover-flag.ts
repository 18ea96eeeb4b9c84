/** M11, wherever a spare is written to. */
export const takeoverFlag: readonly [flag: string, description: string] = [
  '--force-takeover',
  'also a spare that another process marks as in use and can never write to again',
];
