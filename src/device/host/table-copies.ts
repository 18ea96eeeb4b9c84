import type { TableCopy } from '../../metadata/table-copy.ts';
import type { TableCopyHeader } from '../../metadata/table-copy-header.ts';
import { SetupError } from '../setup-error.ts';
import { HostState } from './host-state.ts';

/**
 * M13: this host's copy of the table of the device with this name or UUID. Throws `SetupError`: without a whole copy nobody
 * knows what on main is still good.
 */
export async function findTableCopy(
  stateDirectory: string | undefined,
  nameOrUuid: string,
): Promise<TableCopy> {
  if (stateDirectory === undefined) throw noCopy(nameOrUuid, 'this host has no folder for copies of tables');
  const state = new HostState(stateDirectory);
  const header = one(await state.listTables(), nameOrUuid, stateDirectory);
  const copy = await state.readTable(header.uuid);
  if (copy === undefined) throw noCopy(nameOrUuid, `its copy in ${stateDirectory}/${header.uuid} is gone`);
  if (typeof copy !== 'string') return copy;
  throw noCopy(nameOrUuid, `its copy in ${stateDirectory}/${header.uuid} ${copy}`);
}

function one(headers: readonly TableCopyHeader[], nameOrUuid: string, directory: string): TableCopyHeader {
  const found = headers.filter(({ name, uuid }) => name === nameOrUuid || uuid === nameOrUuid);
  const [first, second] = found;
  if (first === undefined) throw noCopy(nameOrUuid, `${directory} has no copy of its table`);
  if (second === undefined) return first;
  const uuids = found.map(({ uuid }) => uuid).join(', ');
  throw new SetupError('usage', `${nameOrUuid}: ${found.length} devices had this name; give one of ${uuids}`);
}

function noCopy(nameOrUuid: string, why: string): SetupError {
  return new SetupError(
    'refused',
    `${nameOrUuid}: cannot be read without its spare: ${why}, and without one nobody knows what was moved`,
  );
}
