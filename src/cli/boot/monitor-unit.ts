import { ownMark, type ProgramPlace, programWords } from './service-unit.ts';

/** What the operator says of whom to tell; `setup` neither writes nor removes it. */
export const monitorSettingsPath = '/etc/default/dm-remap-monitor';

/**
 * Tells somebody what happens to devices, for `systemctl enable --now dm-remap-monitor`. Whom, DM_REMAP_MONITOR in
 * `monitorSettingsPath` says in words of the command line; without it the journal hears it, and nobody else.
 */
export function monitorUnit(place: ProgramPlace): string {
  return `${ownMark}
[Unit]
Description=dm-remap monitor: tells what happens to devices
After=local-fs.target network.target

[Service]
Type=exec
Environment=DM_REMAP_MONITOR=
EnvironmentFile=-${monitorSettingsPath}
ExecStart=${programWords(place)} monitor --scan $DM_REMAP_MONITOR
Restart=on-failure
RestartSec=30
RestartPreventExitStatus=2 3
UMask=0077

[Install]
WantedBy=multi-user.target
`;
}
