/** Brings docs/control-api.json up to date: `npm run openapi`, which formats it too. */
import { writeFileSync } from 'node:fs';
import { openApiDocument } from '../../src/control/openapi.ts';
import { openApiPath } from './openapi-file.ts';

writeFileSync(openApiPath, `${JSON.stringify(openApiDocument(), undefined, 2)}\n`);
