/**
 * dm-remap as a library: a device-mapper in user space. Everything that holds blocks is a `BlockDevice`; devices stack.
 *
 *     const plane = createDataPlane();
 *     const main = await plane.openFile({ path: '/dev/sdb', cache: 'none' });
 *     const spare = await plane.openFile({ path: '/dev/sdc1', cache: 'none' });
 *     const { arena, clock, random } = plane;
 *     const metadata = await MetadataStore.open({ spare, arena, clock, random });
 *     const device = await openRemapDevice({ main, spare, metadata, arena, clock });
 *     const server = new NbdServer({ exports: [{ name: 'disk', device }], arena, clock });
 *     server.listen(plane.listenUnix('/run/disk.sock'));
 */

// The contract.
export { AssertionFailure } from './block/assert.ts';
export {
  type BlockDevice,
  type Capabilities,
  type Extent,
  type ExtentState,
  type Geometry,
  IoFlags,
  sectorBytes,
} from './block/block-device.ts';
export { type BufferArena, PagedArena } from './block/buffer-arena.ts';
export type { Clock, Random, ScheduledAction } from './block/clock.ts';
export { DeviceError, deviceError, type FailedRange } from './block/device-error.ts';
export { Errno, errnoName, type FailureKind, failureKindOfErrno } from './block/errno.ts';
export { FilterDevice } from './block/filter-device.ts';
export { MemoryDevice, type MemoryDeviceOptions } from './block/memory-device.ts';
export { RequestGate } from './block/request-gate.ts';
// Asking a device that another process serves.
export { ControlClient, ControlError, type ControlErrorCode } from './control/client.ts';
export type { DeviceStatus, DeviceTable, DiskStatus, RemapSummary, RemoveReport } from './device/messages.ts';
export { SetupError, type SetupReason } from './device/setup-error.ts';
// Whole devices.
export { type CreateOptions, type CreateReport, createDevice } from './device/spare/create-device.ts';
export { examineSpare, type SpareReport } from './device/spare/examine-spare.ts';
// Files, block devices, sockets.
export { type ByteStream, StreamError, type StreamListener } from './io/byte-stream.ts';
export { createImage } from './io/create-image.ts';
export { createDataPlane, type DataPlane, type DataPlaneOptions } from './io/data-plane.ts';
export { EngineRefusal } from './io/engine-refusal.ts';
export type { EngineChoice, EngineName } from './io/io-engine.ts';
export { OpenError, type OpenErrorCode } from './io/open-error.ts';
// Device-mapper tables.
export { createMappedDevice, type MappedDeviceOptions } from './mapping/create-mapped-device.ts';
export type { MappedDevice } from './mapping/mapped-device.ts';
export { TargetRegistry } from './mapping/registry.ts';
export type { OpenDevice, StatusKind, Target, TargetContext, TargetType } from './mapping/target.ts';
export { TargetError, type TargetErrorCode } from './mapping/target-error.ts';
// Remapping.
export { advisedSpareBytes, minimumSpareBytes, planLayout, type SpareLayout } from './metadata/layout.ts';
export { MetadataError, type MetadataErrorCode } from './metadata/metadata-error.ts';
export { MetadataStore, type OpenedMetadata } from './metadata/metadata-store.ts';
// NBD.
export { connectNbd, type NbdClient, NbdRequestError } from './nbd/client.ts';
export type { NbdExport } from './nbd/export-list.ts';
export type { NbdDevice } from './nbd/nbd-device.ts';
export { type NbdAddress, parseNbdUri } from './nbd/nbd-uri.ts';
export { openNbdDevice } from './nbd/open-nbd-device.ts';
export { NbdServer, type NbdServerOptions } from './nbd/server.ts';
export { MessageError } from './remap/message/message-error.ts';
export { openRemapDevice, RemapOpenError } from './remap/open-remap.ts';
export { SuspendError } from './remap/order/suspension.ts';
export type { RemapDevice } from './remap/remap-device.ts';
export type { RemapStatus } from './remap/remap-status.ts';
export { remapTargetType } from './remap/remap-target.ts';
export { type StandardTargetParts, standardTargets } from './targets/standard-targets.ts';
