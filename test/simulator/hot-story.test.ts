import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type HotOutcome, type HotTheme, hotStory, hotThemes } from './hot-story.ts';

const storiesPerTheme = 4;

/** What must have struck in the stories of one theme, or they have shown nothing (I26). */
const struck: Readonly<Record<HotTheme, (outcome: HotOutcome) => number>> = {
  'latent slots': ({ goneSectors }) => goneSectors,
  'failing slots': ({ slotWriteErrors }) => slotWriteErrors,
  'blind slots': ({ slotReadErrors }) => slotReadErrors,
  'late writes': ({ late }) => late,
  outages: ({ pathErrors }) => pathErrors,
  operator: ({ remaps }) => remaps,
};

const promises: Readonly<Record<HotTheme, string>> = {
  'latent slots': 'R4 R5 what a slot has lost never comes back older from main',
  'failing slots': 'R1 R5 R26 a slot that fails writes is left without losing what else it holds',
  'blind slots': 'R24 a slot that cannot be read back is never used',
  'late writes': 'R3 a write that arrives long after its deadline never covers a newer one',
  outages: 'R5 R15 R16 I17 I18 a device that is away for a moment costs no sector, no slot and no remap',
  operator: 'R1 R2 R20 I28 moves by hand change no byte under clients that read and write',
};

describe('clients on few granules that are bad', () => {
  for (const [index, theme] of hotThemes.entries()) {
    it(promises[theme], async () => {
      let strikes = 0;
      let cuts = 0;
      for (let story = 1; story <= storiesPerTheme; story += 1) {
        const outcome = await hotStory(story * hotThemes.length + index);
        assert.equal(outcome.theme, theme);
        assert.ok(outcome.remaps > 0, 'nothing was ever moved');
        strikes += struck[theme](outcome);
        cuts += outcome.forks.powerCuts;
      }
      assert.ok(strikes > 0, `never struck: ${theme}`);
      assert.ok(cuts > 20, `only ${cuts} power cuts`);
    });
  }

  it('repeat exactly from their seed', async () => {
    assert.deepEqual(await hotStory(9), await hotStory(9));
  });
});
