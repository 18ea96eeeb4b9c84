import assert from 'node:assert/strict';
import { runWorld } from '../../src/simulator/world/world.ts';
import { crashStory } from '../metadata/crash-story.ts';
import { hotStory, hotThemes } from '../simulator/hot-story.ts';
import { journalsOf, openStack, writeAndObserve } from '../simulator/observed-stack.ts';

/** Looks for a broken promise with one seed. Throws when it finds one; else says how often it cut the power. */
export interface Detector {
  readonly name: string;
  readonly run: (seed: number) => Promise<number>;
}

// So many for one seed that each detector gets about the same time.
const storiesPerSeed = 20;
const liveWorldsPerSeed = 8;
const forkEvery = 5;
/** Each theme once. */
const hotStoriesPerSeed = hotThemes.length;

/** Worlds with their faults, without forks: what goes wrong between clients shows while they live. */
async function liveWorlds(seed: number): Promise<number> {
  let cuts = 0;
  for (let world = 0; world < liveWorldsPerSeed; world += 1) {
    const { sessionEnds } = await runWorld({ seed: 1000 + seed * liveWorldsPerSeed + world, forkEvery: 0 });
    cuts += (sessionEnds['power'] ?? 0) + (sessionEnds['kill'] ?? 0);
  }
  return cuts;
}

/** One world with the power cut at every fifth device operation of it. */
async function forkedWorlds(seed: number): Promise<number> {
  const { forks } = await runWorld({ seed, forkEvery });
  return forks.powerCuts + forks.kills;
}

/** The order of one remap and of some at the same time, as the spare saw it. */
async function order(seed: number): Promise<number> {
  const bad = [3, 70, 71, 500, 600, 602];
  const stack = await openStack(seed, bad);
  const moves = [...(await writeAndObserve(stack, [3])), ...(await writeAndObserve(stack, bad.slice(1)))];
  const journals = journalsOf(stack.opened);
  for (const move of moves) {
    const fault = stack.witness.fault(move, journals);
    assert.equal(fault, undefined, `granule at ${move.mainOffset}: ${fault}`);
  }
  return 0;
}

async function metadata(seed: number): Promise<number> {
  let cuts = 0;
  for (let story = 0; story < storiesPerSeed; story += 1) {
    cuts += (await crashStory(seed * storiesPerSeed + story)).cuts;
  }
  return cuts;
}

/** Few granules, all of them bad, and slots that go bad under them. */
async function hotGranules(seed: number): Promise<number> {
  let cuts = 0;
  for (let story = 0; story < hotStoriesPerSeed; story += 1) {
    const { forks } = await hotStory(seed * hotStoriesPerSeed + story);
    cuts += forks.powerCuts;
  }
  return cuts;
}

/** All that look for broken promises, in the order in which each seed is given to them. */
export const detectors: readonly Detector[] = [
  { name: 'metadata stories', run: metadata },
  { name: 'order witness', run: order },
  { name: 'hot granules', run: hotGranules },
  { name: 'live worlds', run: liveWorlds },
  { name: 'power cuts', run: forkedWorlds },
];
