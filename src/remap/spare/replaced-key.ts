/** Beside the new disk's identity in the superblocks of the old one: it was the spare, and was being replaced by that one. */
export const replacedKey = 'replaced';
