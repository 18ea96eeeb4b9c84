/** The first line of every file that `setup` writes: what does not begin with it is somebody else's and is left alone. */
export const ownMark = '# Written by "dm-remap setup"; "dm-remap setup --uninstall" removes it.';

export interface ProgramPlace {
  /** Absolute. */
  readonly node: string;
  readonly main: string;
}

/**
 * One device, for `systemctl enable dm-remap@NAME` (man 5 systemd.service, systemd.unit, systemd.resource-control).
 *
 * - Before local-fs-pre.target: started before every local file system, so ended after all of them.
 * - `serve` looks for the disks of NAME itself, by identity: a unit that waited for a name under /dev would wait for the wrong one.
 * - It is attached before anything that is ordered behind it goes on, and let go of before it ends; of a restart mounted file systems
 *   notice a pause only. A machine that cannot attach (no FUSE) serves all the same: `-`.
 * - A refusal (2, 4, 6) is for a person and is not tried again; a disk that is late, a bug or a watchdog's end is.
 * - Swapped-out memory of what the kernel writes its pages through would be a deadlock.
 */
export function serviceUnit(place: ProgramPlace): string {
  const program = programWords(place);
  return `${ownMark}
[Unit]
Description=dm-remap device %i
DefaultDependencies=no
After=systemd-udevd.service systemd-remount-fs.service systemd-journald.socket
Wants=modprobe@fuse.service modprobe@loop.service
After=modprobe@fuse.service modprobe@loop.service
Before=local-fs-pre.target shutdown.target
Wants=local-fs-pre.target
Conflicts=shutdown.target
IgnoreOnIsolate=yes
StartLimitIntervalSec=10min
StartLimitBurst=10

[Service]
Type=notify
NotifyAccess=main
ExecStart=${program} serve %i --wait 60
ExecStartPost=-${program} attach %i
ExecStop=-${program} detach %i --wait 30 --unless-restart %n
Restart=on-failure
RestartSec=2
RestartPreventExitStatus=2 4 6
TimeoutStartSec=150
TimeoutStopSec=180
WatchdogSec=30
KillMode=mixed
RuntimeDirectory=dm-remap
RuntimeDirectoryMode=0700
RuntimeDirectoryPreserve=yes
OOMScoreAdjust=-1000
MemorySwapMax=0
LimitMEMLOCK=infinity
UMask=0077

[Install]
WantedBy=local-fs.target
`;
}

/** The first words of an Exec line. */
export function programWords({ node, main }: ProgramPlace): string {
  return `${quoted(node)} ${quoted(main)}`;
}

/** A word of an Exec line: quotes and backslashes escaped, `%` and `$` doubled (man 5 systemd.service, COMMAND LINES). */
function quoted(path: string): string {
  const text = path
    .replaceAll('\\', '\\\\')
    .replaceAll('"', '\\"')
    .replaceAll('%', '%%')
    .replaceAll('$', '$$$$');
  return `"${text}"`;
}
