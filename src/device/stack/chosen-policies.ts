import { defaultPolicies, withPolicy } from '../../remap/policies.ts';
import { SetupError } from '../setup-error.ts';

/** Policies by the names of the `policy` message, only those that the operator chose. */
export type ChosenPolicies = Readonly<Record<string, string>>;

/** Throws `SetupError` when one of them means nothing. */
export function refusePolicies(chosen: ChosenPolicies): void {
  for (const [name, value] of Object.entries(chosen)) {
    const checked = withPolicy(defaultPolicies, name, value);
    if (typeof checked === 'string') throw new SetupError('usage', checked);
  }
}
