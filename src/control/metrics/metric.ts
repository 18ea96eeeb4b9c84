import type { DeviceStatus } from '../../device/messages.ts';
import type { MetricFamily, Sample } from './exposition.ts';

/** One name, and what a device says to it. */
export interface DeviceMetric {
  /** Without its prefix. */
  readonly name: string;
  readonly type: MetricFamily['type'];
  readonly help: string;
  readonly of: (status: DeviceStatus) => readonly Sample[];
}

export const gauge = (
  name: string,
  help: string,
  of: (status: DeviceStatus) => number | readonly Sample[],
): DeviceMetric => ({ name, type: 'gauge', help, of: (status) => asSamples(of(status)) });

export const counter = (
  name: string,
  help: string,
  of: (status: DeviceStatus) => number | readonly Sample[],
): DeviceMetric => ({ name, type: 'counter', help, of: (status) => asSamples(of(status)) });

/** One of several words: 1 for the one that holds, 0 for the others, so that an alert can name any of them. */
export const stateSet = (
  name: string,
  help: string,
  words: readonly string[],
  of: (status: DeviceStatus) => string,
): DeviceMetric =>
  gauge(name, help, (status) => {
    const holds = of(status);
    const all = words.includes(holds) ? words : [...words, holds];
    return all.map((state) => ({ labels: { state }, value: Number(state === holds) }));
  });

/** `writeZeroes` is `write_zeroes`: label values are words like names. */
export function wordOf(name: string): string {
  return name.replaceAll(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}

/** A sample for each, by the label `kind`. */
export function byKind(counts: Readonly<Record<string, number>>): readonly Sample[] {
  return Object.entries(counts).map(([kind, value]) => ({
    labels: { kind: wordOf(kind) },
    value,
  }));
}

function asSamples(value: number | readonly Sample[]): readonly Sample[] {
  return typeof value === 'number' ? [{ labels: {}, value }] : value;
}
