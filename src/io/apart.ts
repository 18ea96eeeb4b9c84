/**
 * Whether the kernel may join a request with its neighbours on the disk into one, which fails as one. `even` and `odd` are
 * never joined with each other, nor with `no`; whoever sends neighbours gives them `even` and `odd` in turns.
 */
export const Apart = { no: 0, even: 1, odd: 2 } as const;
export type Apart = (typeof Apart)[keyof typeof Apart];
