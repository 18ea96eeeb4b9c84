/** The best score. Scores go one way: 100 is healthy, 0 is as bad as it gets. */
export const scoreMax = 100;
/** Below it somebody has to do something today. A device that refuses requests never has more. */
export const failingScore = 40;
/** Operators are told of a score that differs by so much from the one that they were told last. */
export const toldDifference = 5;
/** Reasons in one such message. */
export const toldReasonsMax = 4;

/** Whether a score is news to somebody who was told `told` last. */
export function isNews(score: number, told: number): boolean {
  return Math.abs(score - told) >= toldDifference || (score === scoreMax && told < scoreMax);
}
