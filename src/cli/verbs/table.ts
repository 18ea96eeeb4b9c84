import { findDevice } from '../find-device.ts';
import { printJson, type Terminal } from '../terminal.ts';

/** `table NAME`: the device-mapper line of a device; below it, indented, the lines of a main that is a table. */
export async function runTable(
  terminal: Terminal,
  name: string,
  options: { readonly json?: boolean },
): Promise<void> {
  const table = await findDevice(name).client.table();
  if (options.json === true) printJson(terminal, table);
  else terminal.print([...table.lines, ...table.mainLines.map((line) => `  ${line}`)].join('\n'));
}
