import { ownMark } from './service-unit.ts';

/**
 * M16: hides mains whose table may not be empty: mounted without dm-remap they show what lies under moved blocks, and a write to
 * them parts main and spare. A main is known by a file in `hiddenFolder`, named for what udev calls the disk, so that no program
 * runs for an event (man 7 udev).
 *
 * - Behind 60-persistent-storage.rules, which finds ID_SERIAL and ID_FS_*; before 64-* and 69-*, which assemble by ID_FS_TYPE.
 * - The links by UUID and label are made already; with the lowest priority they go to the device that dm-remap serves.
 * - A partition carries its disk's ID_SERIAL: a hidden disk hides what is on it.
 */
export function udevRules(hiddenFolder: string): string {
  return `${ownMark}
SUBSYSTEM!="block", GOTO="dm_remap_end"
ACTION=="remove", GOTO="dm_remap_end"

ENV{ID_SERIAL}=="?*", TEST=="${hiddenFolder}/serial-$env{ID_SERIAL}", ENV{DM_REMAP_MAIN}="1"
ENV{ID_SERIAL}=="?*", ENV{PARTN}=="?*", TEST=="${hiddenFolder}/serial-$env{ID_SERIAL}-part$env{PARTN}", ENV{DM_REMAP_MAIN}="1"
ENV{DM_UUID}=="?*", TEST=="${hiddenFolder}/dm-$env{DM_UUID}", ENV{DM_REMAP_MAIN}="1"
ENV{MD_UUID}=="?*", TEST=="${hiddenFolder}/md-$env{MD_UUID}", ENV{DM_REMAP_MAIN}="1"
ENV{DM_REMAP_MAIN}!="1", GOTO="dm_remap_end"

OPTIONS+="link_priority=-1000"
ENV{SYSTEMD_READY}="0", ENV{UDISKS_IGNORE}="1"
ENV{ID_FS_TYPE}="", ENV{ID_FS_USAGE}="", ENV{ID_FS_VERSION}=""
ENV{ID_FS_UUID}="", ENV{ID_FS_UUID_ENC}="", ENV{ID_FS_UUID_SUB}="", ENV{ID_FS_UUID_SUB_ENC}=""
ENV{ID_FS_LABEL}="", ENV{ID_FS_LABEL_ENC}=""

LABEL="dm_remap_end"
`;
}
