/** What smartctl 7.3 prints of disks, its form as recorded, shortened to what anybody looks at and then some. */

interface Raw {
  readonly value: number;
  readonly string?: string;
}

interface AtaWords {
  readonly passed?: boolean;
  readonly exitStatus?: number;
  readonly serial?: string;
}

function head(
  device: string,
  protocol: string,
  exitStatus: number,
  messages: readonly string[] = [],
): object {
  return {
    json_format_version: [1, 0],
    smartctl: {
      version: [7, 3],
      svn_revision: '5338',
      platform_info: 'x86_64-linux-6.1.0',
      build_info: '(local build)',
      argv: ['smartctl', '--json=c', device],
      ...(messages.length === 0
        ? {}
        : { messages: messages.map((string) => ({ string, severity: 'error' })) }),
      exit_status: exitStatus,
    },
    local_time: { time_t: 1_700_000_000, asctime: 'Tue Nov 14 22:13:20 2023 UTC' },
    device: { name: device, info_name: `${device} [SAT]`, type: 'sat', protocol },
  };
}

export function ataDisk(
  raws: Readonly<Record<number, Raw | number>>,
  { passed = true, exitStatus = 0, serial = 'ZA10XXXX' }: AtaWords = {},
): string {
  return JSON.stringify({
    ...head('/dev/sda', 'ATA', exitStatus),
    model_family: 'Seagate BarraCuda 3.5',
    model_name: 'ST2000DM008-2FR102',
    serial_number: serial,
    wwn: { naa: 5, oui: 3152, id: 3_456_789_012 },
    user_capacity: { blocks: 3_907_029_168, bytes: 2_000_398_934_016 },
    rotation_rate: 7200,
    smart_support: { available: true, enabled: true },
    smart_status: { passed },
    ata_smart_attributes: {
      revision: 10,
      table: Object.entries(raws).map(([id, raw]) => {
        const { value, string = String(value) }: Raw = typeof raw === 'number' ? { value: raw } : raw;
        return {
          id: Number(id),
          name: `Attribute_${id}`,
          value: 100,
          worst: 100,
          thresh: 10,
          when_failed: '',
          flags: { value: 51, string: 'PO--CK ', prefailure: true },
          raw: { value, string },
        };
      }),
    },
    power_on_time: { hours: 12_345 },
    temperature: { current: 34 },
    ata_smart_error_log: { summary: { revision: 1, count: 0 } },
  });
}

export function nvmeDisk(log: Readonly<Record<string, number>>): string {
  return JSON.stringify({
    ...head('/dev/nvme0n1', 'NVMe', 0),
    model_name: 'Samsung SSD 980 PRO 1TB',
    serial_number: 'S5GXNX0R000000A',
    smart_status: {
      passed: (log['critical_warning'] ?? 0) === 0,
      nvme: { value: log['critical_warning'] ?? 0 },
    },
    nvme_smart_health_information_log: {
      critical_warning: 0,
      temperature: 41,
      available_spare: 100,
      available_spare_threshold: 10,
      percentage_used: 3,
      data_units_read: 30_000_000,
      data_units_written: 19_000_000,
      unsafe_shutdowns: 17,
      media_errors: 0,
      num_err_log_entries: 0,
      ...log,
    },
  });
}

export const sasDisk: string = JSON.stringify({
  ...head('/dev/sdb', 'SCSI', 0),
  scsi_vendor: 'SEAGATE',
  scsi_product: 'ST4000NM0023',
  scsi_model_name: 'SEAGATE ST4000NM0023',
  serial_number: 'Z1Z0XXXX0000',
  smart_status: { passed: true },
  scsi_grown_defect_list: 12,
  scsi_error_counter_log: {
    read: { errors_corrected_by_eccfast: 3_000_000_000, total_uncorrected_errors: 4 },
    write: { total_uncorrected_errors: 1 },
    verify: { total_uncorrected_errors: 0 },
  },
});

/** Of `-n standby` with a disk that sleeps: the exit status says no more than that. */
export const sleepingDisk: string = JSON.stringify({
  ...head('/dev/sda', 'ATA', 2),
  smartctl: {
    exit_status: 2,
    messages: [{ string: 'Device is in STANDBY mode, exit(2)', severity: 'information' }],
  },
});

/** As recorded of a loop device. */
export const loopDevice: string =
  '{"json_format_version":[1,0],"smartctl":{"version":[7,3],"svn_revision":"5338","platform_info":"x86_64-linux-6.18.44","build_info":"(local build)","argv":["smartctl","--json=c","/dev/loop0"],"messages":[{"string":"/dev/loop0: Unable to detect device type","severity":"error"}],"exit_status":1},"local_time":{"time_t":1795228367,"asctime":"Sat Nov 21 02:32:47 2026 UTC"}}';

/** Of `-l scterc`; undefined for a disk that has none. */
export function scterc(read: number | 'off' | undefined, write: number | 'off' | undefined = read): string {
  const told = (of: number | 'off' | undefined): object =>
    typeof of === 'number' ? { enabled: true, deciseconds: of } : { enabled: false };
  return JSON.stringify({
    ...head('/dev/sda', 'ATA', read === undefined ? 4 : 0),
    ...(read === undefined ? {} : { ata_sct_erc: { read: told(read), write: told(write) } }),
  });
}
