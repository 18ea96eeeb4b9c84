import { fileURLToPath } from 'node:url';

export const openApiPath: string = fileURLToPath(new URL('../../../docs/control-api.json', import.meta.url));
