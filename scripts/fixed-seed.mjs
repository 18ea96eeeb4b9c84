// Loaded into every test file of a CI run: properties draw their cases from one seed, so that a change is judged by what it
// changes. A person's run draws a new seed each time and finds what nobody has seen; a failure prints its seed.

import fc from 'fast-check';

fc.configureGlobal({ ...fc.readConfigureGlobal(), seed: 20_260_401 });
