/** A device as a block device of the kernel, with a file system on it or not. */
export interface BlockAttachment {
  /** Its path. */
  attach(): Promise<string>;
  /** The folder where the file system on `device` is mounted. */
  mount(device: string, ...options: readonly string[]): Promise<string>;
  /** Undoes the last step: after `mount` the file system is unmounted and the disk stays attached. */
  undoLast(): Promise<void>;
  undoAll(): Promise<void>;
}
