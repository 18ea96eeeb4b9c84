import type { FuzzTarget } from '../engine/fuzz-target.ts';

export const targetNames = [
  'nbd-handshake',
  'nbd-transmission',
  'nbd-client',
  'nbd-clients',
  'control-bodies',
  'superblock',
  'journal',
  'checkpoint',
  'metadata-dump',
  'table-copy',
  'table-lines',
  'remap-messages',
  'bad-sector-lists',
  'command-words',
  'event-log',
  'host-state',
  'runtime-folder',
  'disk-signatures',
  'disk-descriptions',
] as const;
export type TargetName = (typeof targetNames)[number];

/** Where each target is: only what is fuzzed is loaded, for a look at the coverage costs by the code there is. */
const places: Readonly<Record<TargetName, () => Promise<FuzzTarget>>> = {
  'nbd-handshake': async () => (await import('./nbd-server-targets.ts')).nbdHandshake,
  'nbd-transmission': async () => (await import('./nbd-server-targets.ts')).nbdTransmission,
  'nbd-client': async () => (await import('./nbd-client-target.ts')).nbdClient,
  'nbd-clients': async () => (await import('./nbd-clients.ts')).nbdClients,
  'control-bodies': async () => (await import('./control-bodies.ts')).controlBodies,
  superblock: async () => (await import('./spare-targets.ts')).superblocks,
  journal: async () => (await import('./spare-targets.ts')).journals,
  checkpoint: async () => (await import('./spare-targets.ts')).checkpoints,
  'metadata-dump': async () => (await import('./metadata-text-targets.ts')).metadataDumps,
  'table-copy': async () => (await import('./metadata-text-targets.ts')).tableCopies,
  'table-lines': async () => (await import('./table-lines.ts')).tableLines,
  'remap-messages': async () => (await import('./remap-messages.ts')).remapMessages,
  'bad-sector-lists': async () => (await import('./text-targets.ts')).badSectorLists,
  'command-words': async () => (await import('./text-targets.ts')).wordsOfCommands,
  'event-log': async () => (await import('./event-log.ts')).eventLog,
  'host-state': async () => (await import('./host-folders.ts')).hostState,
  'runtime-folder': async () => (await import('./host-folders.ts')).runtimeFolder,
  'disk-signatures': async () => (await import('./disk-targets.ts')).diskSignatures,
  'disk-descriptions': async () => (await import('./disk-targets.ts')).diskDescriptions,
};

export function isTargetName(name: string): name is TargetName {
  return name in places;
}

export async function loadTarget(name: TargetName): Promise<FuzzTarget> {
  return await places[name]();
}
