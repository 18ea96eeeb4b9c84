import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskNews, newsDelayMs } from '../../../src/device/process/disk-news.ts';
import { HandClock } from '../hand-clock.ts';

test('the control plane hears of trouble with the disks, once for all of five seconds, and of nothing else', () => {
  const clock = new HandClock();
  let told = 0;
  const news = new DiskNews(clock, () => {
    told += 1;
  });
  news.look({ kind: 'client-connected', peer: 'unix', open: 1 });
  news.look({
    kind: 'smart-increased',
    disk: 'main',
    device: '/dev/sda',
    counter: 'linkErrors',
    from: 1,
    to: 2,
  });
  assert.equal(clock.waitingCount, 0, 'no timer while nothing happens; what it told itself is no news');
  const span = { sectors: 1, firstSector: 7, lastSector: 7 };
  for (let at = 0; at < 100; at += 1) news.look({ kind: 'unreadable', ...span });
  assert.equal(told, 0);
  clock.advance(newsDelayMs);
  assert.equal(told, 1);
  news.look({ kind: 'path-lost', disk: 'main', direction: 'read' });
  clock.advance(newsDelayMs);
  assert.equal(told, 2);
  news.look({ kind: 'gone', ...span });
  news.close();
  news.look({ kind: 'gone', ...span });
  clock.advance(newsDelayMs);
  assert.equal(told, 2);
  assert.equal(clock.waitingCount, 0);
});
