import * as z from 'zod/mini';
import type { HealthStatus } from '../health/health-status.ts';
import { smartCounterNames } from '../health/smart-reading.ts';

const smartCounts = z.partialRecord(z.enum(smartCounterNames), z.number());
const diskRole = z.enum(['main', 'spare']);

/** How healthy a device is, in answers of the API. */
export const healthStatus: z.ZodMiniType<HealthStatus> = z.object({
  score: z.number(),
  reasons: z.array(
    z.object({
      rule: z.string(),
      disk: diskRole,
      lowersBy: z.number(),
      holdsAt: z.nullable(z.number()),
      text: z.string(),
    }),
  ),
  advice: z.array(
    z.object({
      kind: z.enum(['replace-now', 'larger-spare', 'check-cable', 'replace-soon', 'restore-lost']),
      disk: diskRole,
      text: z.string(),
    }),
  ),
  growth: z.object({
    badSectorsLastDay: z.number(),
    badSectorsLastWeek: z.number(),
    badSectorsWeekBefore: z.number(),
    failedAgain: z.number(),
    slotsRetiredLastWeek: z.number(),
    mainPathLossesLastWeek: z.number(),
    sparePathLossesLastWeek: z.number(),
    stuckLastWeek: z.number(),
    slowBlocks: z.number(),
  }),
  places: z.nullable(
    z.object({
      clusters: z.number(),
      tenths: z.array(z.number()),
      hotSpot: z.nullable(z.object({ first: z.number(), last: z.number(), sectors: z.number() })),
    }),
  ),
  spareFullInDays: z.nullable(z.number()),
  disks: z.array(
    z.object({
      disk: diskRole,
      device: z.string(),
      smart: z.enum(['read', 'asleep', 'not-supported', 'no-answer', 'not-installed', 'not-asked']),
      detail: z.string(),
      readUnixSeconds: z.number(),
      model: z.string(),
      serial: z.string(),
      failing: z.boolean(),
      counters: smartCounts,
      grown: smartCounts,
    }),
  ),
  lookedUnixSeconds: z.number(),
  trouble: z.string(),
});

/** Answer of GET /health. */
export const healthAnswer: z.ZodMiniType<{ readonly health: HealthStatus | null }> = z.object({
  health: z.nullable(healthStatus),
});
