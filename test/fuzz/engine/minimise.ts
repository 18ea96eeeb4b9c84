/** Executions that making one input smaller may take. */
const attemptsMax = 1_500;

/** A shorter input that `fails` in the same way: pieces are left out, then bytes become zeroes. */
export async function minimise(input: Buffer, fails: (input: Buffer) => Promise<boolean>): Promise<Buffer> {
  let best = input;
  let attempts = 0;
  const takes = async (candidate: Buffer): Promise<boolean> => {
    if (attempts >= attemptsMax) return false;
    attempts += 1;
    if (!(await fails(candidate))) return false;
    best = candidate;
    return true;
  };
  for (let size = Math.ceil(best.length / 2); size >= 1; size = size === 1 ? 0 : Math.ceil(size / 2)) {
    for (let at = 0; at < best.length; ) {
      const candidate = Buffer.concat([best.subarray(0, at), best.subarray(at + size)]);
      if (!(await takes(candidate))) at += size;
    }
  }
  for (let at = 0; at < best.length; at += 1) {
    if (best[at] === 0) continue;
    const candidate = Buffer.from(best);
    candidate[at] = 0;
    await takes(candidate);
  }
  return best;
}
