import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { controlApplication } from '../../src/control/application.ts';
import { openApiDocument } from '../../src/control/openapi.ts';
import { methodsOf, operations } from '../../src/control/operations.ts';
import { exampleStatus } from './example-status.ts';
import { openApiPath } from './openapi-file.ts';

test('docs/control-api.json is what the schemas say', () => {
  assert.deepEqual(JSON.parse(readFileSync(openApiPath, 'utf8')), openApiDocument(), 'run: npm run openapi');
});

test('the document is served as it is stored', async () => {
  const application = controlApplication({ ask: () => assert.fail('nobody is asked') });
  const answer = await application.request('/openapi.json');
  assert.equal(answer.status, 200);
  assert.deepEqual(await answer.json(), JSON.parse(readFileSync(openApiPath, 'utf8')));
});

test('what is served is what the document lists, and no more', () => {
  const served = controlApplication({ ask: () => assert.fail() })
    .routes.filter(({ method }) => method !== 'ALL')
    .map(({ method, path }) => `${method} ${path}`);
  const listed = operations.map(({ method, path }) => `${method.toUpperCase()} ${path}`);
  assert.deepEqual(new Set(served), new Set(listed));
  assert.deepEqual(methodsOf('/remove'), ['POST']);
  assert.deepEqual(methodsOf('/nothing'), []);
});

test('every reference leads somewhere, every operation has a name of its own and every failure the one shape', () => {
  const document = JSON.parse(JSON.stringify(openApiDocument()));
  const references = [...JSON.stringify(document).matchAll(/"#\/components\/schemas\/(\w+)"/g)];
  assert.ok(references.length > operations.length);
  for (const [, name] of references)
    assert.ok(name !== undefined && name in document.components.schemas, name);
  const names = operations.map(({ path, method }) => document.paths[path][method].operationId);
  assert.equal(new Set(names).size, operations.length);
  for (const { path, method } of operations) {
    for (const [status, response] of Object.entries<Record<string, never>>(
      document.paths[path][method].responses,
    )) {
      if (status === '200') continue;
      assert.deepEqual(response['content'], {
        'application/json': { schema: { $ref: '#/components/schemas/Failure' } },
      });
    }
  }
});

test('answers of every kind pass the schema that the document gives', async () => {
  const answers: Readonly<Record<string, unknown>> = {
    ping: { name: 'disk', state: 'serving', pid: 7 },
    status: exampleStatus,
    health: { health: exampleStatus.health },
    table: { lines: ['0 8 remap a b'], mainLines: [] },
    message: { reply: 'done' },
    suspend: { state: 'suspended' },
    resume: { state: 'serving' },
    'open-file': { path: '/proc/1/fd/20' },
    remove: {
      steps: [{ step: 'flush', result: 'done', durationMs: 3, detail: '' }],
      leftBehind: [{ path: '/dev/sdb', requests: 2 }],
    },
  };
  for (const { path, answer } of operations) {
    const [type] = Object.keys(answers).filter((one) => `/${one}` === path);
    if (answer === undefined) continue;
    assert.ok(type !== undefined, path);
    const parsed = answer.schema.safeParse(answers[type]);
    assert.ok(parsed.success, path);
    assert.deepEqual(parsed.data, answers[type], `${path}: no field is left out`);
  }
});
