import { describeFuzzing } from './engine/test-stage.ts';

describeFuzzing([
  'table-lines',
  'remap-messages',
  'bad-sector-lists',
  'command-words',
  'event-log',
  'host-state',
  'runtime-folder',
]);
