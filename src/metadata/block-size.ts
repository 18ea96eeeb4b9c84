/** Everything of the format is written in blocks of this size, at multiples of it (M3). */
export const blockBytes = 4096;
