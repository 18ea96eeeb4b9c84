import assert from 'node:assert/strict';
import { runLongTool } from '../../end-to-end/foreign-tool.ts';

interface FioDirection {
  readonly total_ios: number;
  /** `lat_ns` of fio 3. */
  readonly lat_ns: { readonly max: number };
}

export interface FioJob {
  readonly error: number;
  readonly total_err: number;
  readonly read: FioDirection;
  readonly write: FioDirection;
}

/** fio with O_DIRECT on a block device; gives what it says of its job, whatever its exit code. */
export async function fioJob(device: string, seconds: number, ...words: readonly string[]): Promise<FioJob> {
  const { output } = await runLongTool(
    (seconds + 120) * 1000,
    'fio',
    '--name=job',
    `--filename=${device}`,
    '--ioengine=libaio',
    '--direct=1',
    '--output-format=json',
    // Else it leaves a file in the working directory.
    '--verify_state_save=0',
    ...words,
  );
  assert.ok(output.includes('{'), output);
  const report: { jobs: FioJob[] } = JSON.parse(
    output.slice(output.indexOf('{'), output.lastIndexOf('}') + 1),
  );
  return report.jobs[0]!;
}
