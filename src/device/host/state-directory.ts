import { join, resolve } from 'node:path';
import process from 'node:process';

/**
 * Where the host remembers its devices over boots: `DM_REMAP_STATE_DIR`, else by who we are. Undefined where a user has
 * neither XDG_STATE_HOME nor HOME: what is kept there helps, and nothing depends on it.
 */
export function stateDirectory(
  environment: Readonly<Record<string, string | undefined>> = process.env,
  userId: number = process.getuid?.() ?? 0,
): string | undefined {
  const named = (name: string): string => environment[name] ?? '';
  if (named('DM_REMAP_STATE_DIR') !== '') return resolve(named('DM_REMAP_STATE_DIR'));
  if (userId === 0) return '/var/lib/dm-remap';
  // A relative one must be ignored (XDG Base Directory Specification).
  if (named('XDG_STATE_HOME').startsWith('/')) return join(named('XDG_STATE_HOME'), 'dm-remap');
  return named('HOME') === '' ? undefined : join(named('HOME'), '.local', 'state', 'dm-remap');
}
