import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';
import { healthText } from '../text/health-text.ts';

/** `health NAME`: looks now, and says how healthy the device and its disks are, why, and what to do. */
export async function runHealth(
  terminal: Terminal,
  name: string,
  options: { readonly json?: boolean },
): Promise<void> {
  const { client } = findDevice(name);
  const health = await client.health();
  if (options.json === true) printJson(terminal, { name, health });
  else terminal.print(healthText(name, health, Date.now()));
}
