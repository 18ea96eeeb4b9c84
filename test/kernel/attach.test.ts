import { kernelTests } from './kernel-tests.ts';

kernelTests('attach by the nbd driver', [
  {
    title:
      'SIGKILL and restart under a mounted ext4: requests wait, the next process gets them again, nothing synced is lost',
    plan: { story: 'attached-queue' },
    limitSeconds: 300,
  },
  {
    title:
      'SIGKILL and nobody comes: remove --force gives EIO and what was synced is there; --read-only takes no write',
    plan: { story: 'attached-fail' },
    limitSeconds: 240,
  },
]);
