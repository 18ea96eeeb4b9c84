import type { ExtentState } from '../block/block-device.ts';
import { AllocationFlag } from './constants.ts';

/** What BLOCK_STATUS can be asked for: a name, and what each state of an extent is in it. */
export interface MetaContext {
  /** On the wire; not 0, which LIST uses. */
  readonly id: number;
  readonly name: string;
  readonly flagsByState: Readonly<Record<ExtentState, number>>;
}

/**
 * R29: a hole or zeros only where the device says so. What is remapped or lost is data like any other: whoever copies the
 * disk must read it, and hear of its errors.
 */
const allocation: MetaContext = {
  id: 1,
  name: 'base:allocation',
  flagsByState: {
    data: 0,
    zero: AllocationFlag.zero,
    hole: AllocationFlag.hole | AllocationFlag.zero,
    remapped: 0,
    unreadable: 0,
    gone: 0,
  },
};

/** Bits of a descriptor of `dm-remap:state`; none means that the bytes are main's. */
export const RemapStateFlag = { remapped: 0x0001, unreadable: 0x0002, gone: 0x0004 } as const;

const remapState: MetaContext = {
  id: 2,
  name: 'dm-remap:state',
  flagsByState: { data: 0, zero: 0, hole: 0, ...RemapStateFlag },
};

/** In the order in which they are listed. */
export const metaContexts: readonly MetaContext[] = [allocation, remapState];

/** LIST: without queries all contexts; a namespace (`base:`) stands for all that is in it. */
export function listedContexts(queries: readonly string[]): readonly MetaContext[] {
  if (queries.length === 0) return metaContexts;
  return metaContexts.filter(({ name }) =>
    queries.some((query) => query === name || query === `${name.split(':')[0]}:`),
  );
}

/** SET: exact names only, each once; what is not known is ignored. */
export function chosenContexts(queries: readonly string[]): readonly MetaContext[] {
  return metaContexts.filter(({ name }) => queries.includes(name));
}
