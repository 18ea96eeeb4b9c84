import { powerCutTests } from './power-cut-tests.ts';
import { writeLogTests } from './write-log-tests.ts';

powerCutTests({ boots: 1, acknowledgementsPerBoot: 100 });
writeLogTests({ badCount: 16, rounds: 2 });
