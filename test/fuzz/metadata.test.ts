import { describeFuzzing } from './engine/test-stage.ts';

describeFuzzing([
  'superblock',
  'journal',
  'checkpoint',
  'metadata-dump',
  'table-copy',
  'disk-signatures',
  'disk-descriptions',
]);
