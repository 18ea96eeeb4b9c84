/** What the superblock keeps for people and for `assemble`, as the caller words it. All strings, in the given order. */
export interface DeviceProperties {
  /** The device's name. */
  readonly name: string;
  /** M15: how main is recognised: WWN, serial, model, size, path hint and so on. */
  readonly mainIdentity: Readonly<Record<string, string>>;
  /** M12: the spare's own identity, by which a copy is recognised. */
  readonly spareIdentity: Readonly<Record<string, string>>;
  /** Policies that survive `assemble`. */
  readonly policies: Readonly<Record<string, string>>;
  /** Where a scrub is, and how the last ones ended; absent on a spare whose device was never scrubbed. */
  readonly scrub?: Readonly<Record<string, string>>;
}
