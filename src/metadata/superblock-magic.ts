import { magic } from './block-checksum.ts';

export const superblockMagic: Uint8Array = magic('dmRMsupr');
