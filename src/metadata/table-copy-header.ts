/** What a copy of a table says about itself and its device: enough to serve main without the spare, read-only (M13). */
export interface TableCopyHeader {
  readonly format: 1;
  readonly uuid: string;
  readonly name: string;
  readonly mainSizeBytes: number;
  readonly logicalBlockBytes: number;
  readonly granuleBytes: number;
  readonly mainIdentity: Readonly<Record<string, string>>;
  readonly spareIdentity: Readonly<Record<string, string>>;
  /** Every record acknowledged up to this sequence number is in the copy; later ones may be. */
  readonly sequence: number;
  readonly sessionNonce: string;
  /** Written at a clean end: nothing was acknowledged after it. */
  readonly complete: boolean;
  readonly writtenUnixSeconds: number;
}

const numberFields = [
  'mainSizeBytes',
  'logicalBlockBytes',
  'granuleBytes',
  'sequence',
  'writtenUnixSeconds',
] as const;
const textFields = ['uuid', 'name', 'sessionNonce'] as const;

export function isTableCopyHeader(value: unknown): value is TableCopyHeader {
  if (!isObject(value) || value['format'] !== 1 || typeof value['complete'] !== 'boolean') return false;
  return (
    numberFields.every((field) => isWhole(value[field])) &&
    textFields.every((field) => typeof value[field] === 'string') &&
    isPairs(value['mainIdentity']) &&
    isPairs(value['spareIdentity']) &&
    isGranule(value['granuleBytes'])
  );
}

function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isWhole(value: unknown): boolean {
  return typeof value === 'number' && Number.isSafeInteger(value) && value >= 0;
}

function isGranule(value: unknown): boolean {
  return typeof value === 'number' && value >= 512 && value <= 16_384 && (value & (value - 1)) === 0;
}

function isPairs(value: unknown): boolean {
  return isObject(value) && Object.values(value).every((text) => typeof text === 'string');
}
