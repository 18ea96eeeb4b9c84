export interface GuestInitOptions {
  readonly node: string;
  readonly guestMain: string;
  readonly planPath: string;
}

const modules = [
  'md/dm-mod',
  'md/dm-dust',
  'md/dm-flakey',
  'md/dm-delay',
  'md/dm-log-writes',
  'block/nbd',
  'block/loop',
];

/** The first process of the guest. It must not end: the kernel would panic; `guestMain` turns the machine off. */
export function guestInit({ node, guestMain, planPath }: GuestInitOptions): string {
  return `#!/bin/bash
exec >/dev/console 2>&1 </dev/null
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8
# There is no udev here: dmsetup makes the nodes itself.
export DM_DISABLE_UDEV=1
mount -t proc proc /proc
mount -t sysfs sys /sys
# Not on /tmp: the project, and this file, may be there.
mount -t tmpfs tmpfs /run
mkdir /run/tmp
export TMPDIR=/run/tmp HOME=/run/tmp
cd /run/tmp
# Else a console eats every second letter of a long line.
stty -F /dev/console -opost 2>/dev/null
for module in ${modules.join(' ')}; do
  insmod /usr/lib/uml/modules/$(uname -r)/kernel/drivers/$module.ko || echo "no module $module"
done
${quoted(node)} --enable-source-maps ${quoted(guestMain)} ${quoted(planPath)}
echo "the guest ended by itself: $?"
halt -f -p
`;
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", "'\\''")}'`;
}
