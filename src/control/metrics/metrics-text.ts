import type { DeviceStatus } from '../../device/messages.ts';
import { deviceFamilies, type SilentDevice } from './device-metrics.ts';
import { expositionText } from './exposition.ts';

/** Everything about these devices for Prometheus. */
export function metricsText(answers: readonly DeviceStatus[], silent: readonly SilentDevice[] = []): string {
  return expositionText(deviceFamilies(answers, silent));
}
