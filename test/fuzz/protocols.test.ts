import { describeFuzzing } from './engine/test-stage.ts';

describeFuzzing(['nbd-handshake', 'nbd-transmission', 'nbd-client', 'nbd-clients', 'control-bodies']);
