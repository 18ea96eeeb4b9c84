import { MetadataError } from '../../metadata/metadata-error.ts';
import { policyNames, policyRecord, withPolicy } from '../policies.ts';
import type { RemapCore } from '../remap-core.ts';
import { MessageError } from './message-error.ts';

/** `policy`: all of them, `policy NAME`: one, `policy NAME VALUE`: stored first, then holds for the next request. */
export async function answerPolicy(core: RemapCore, words: readonly string[]): Promise<string> {
  const [name, value, ...more] = words;
  const record = policyRecord(core.policies);
  if (name === undefined)
    return Object.entries(record)
      .map(([key, text]) => `${key} ${text}`)
      .join('\n');
  if (!policyNames.includes(name)) {
    throw new MessageError(
      'MESSAGE_INVALID',
      `policy: unknown policy '${name}', expected one of ${policyNames.join(', ')}`,
    );
  }
  if (value === undefined) return `${name} ${record[name]}`;
  if (more.length > 0)
    throw new MessageError('MESSAGE_INVALID', `policy: expected NAME VALUE, got '${words.join(' ')}'`);
  await setPolicy(core, name, value);
  return `${name} ${policyRecord(core.policies)[name]}`;
}

/** A change that is asked for while another one is being stored waits for it: each is made from what the last one left. */
async function setPolicy(core: RemapCore, name: string, value: string): Promise<void> {
  const change = core.policyChange.then(async () => {
    const changed = withPolicy(core.policies, name, value);
    if (typeof changed === 'string') throw new MessageError('MESSAGE_INVALID', `policy: ${changed}`);
    // Names that this program does not know belong to a later one, and stay (M10).
    const stored = { ...core.storedPolicies, ...policyRecord(changed) };
    await store(core, stored);
    core.storedPolicies = stored;
    core.policies = changed;
  });
  core.policyChange = change.catch(() => undefined);
  await change;
}

async function store(core: RemapCore, policies: Readonly<Record<string, string>>): Promise<void> {
  try {
    await core.parts.metadata.updateProperties({ policies });
  } catch (error) {
    if (!(error instanceof MetadataError)) throw error;
    throw new MessageError(
      'MESSAGE_FAILED',
      `policy: it is as it was, for it cannot be stored: ${error.message}`,
    );
  }
}
