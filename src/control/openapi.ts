import * as z from 'zod/mini';
import { failureText, serverFailures, statusOfFailure } from './failure-codes.ts';
import { type Operation, operations } from './operations.ts';
import { failureBody } from './schema.ts';

/** Of the API, not of the program: the first number changes when a client must be changed. */
export const controlApiVersion = '1.0.0';

type Json = string | number | boolean | null | readonly Json[] | { readonly [name: string]: Json };

/** Every request may end with these, whatever it asks. */
const codesOfAll = ['BAD_REQUEST', 'DENIED', 'BUSY', 'TIMED_OUT', 'FAILED'] as const;

/** The control API as an OpenAPI 3.1 document, made of what checks requests and answers. */
export function openApiDocument(): { readonly [name: string]: Json } {
  const schemas: Record<string, Json> = { Failure: jsonSchema(failureBody) };
  for (const { body, answer } of operations) {
    if (body !== undefined) schemas[body.name] = jsonSchema(body.schema);
    if (answer !== undefined) schemas[answer.name] = jsonSchema(answer.schema);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'dm-remap control API',
      version: controlApiVersion,
      summary: 'One device: asked, suspended, removed',
      description:
        'HTTP over the Unix socket NAME/control.sock in the runtime directory, for root and the user who serves the device. ' +
        'One request a connection. Fields may be added to answers; a body with a field that is not named here is refused. ' +
        `A failure is ${failureText('CODE', 'one line for people')}.`,
      license: { name: 'MIT', identifier: 'MIT' },
    },
    servers: [{ url: 'http://localhost', description: 'curl --unix-socket /run/dm-remap/NAME/control.sock' }],
    paths: Object.fromEntries(
      operations.map((operation) => [operation.path, { [operation.method]: described(operation) }]),
    ),
    components: { schemas },
  };
}

function described(operation: Operation): Json {
  const { path, summary, description, body } = operation;
  return {
    operationId: path.slice(1).replace(/\W.*$/, ''),
    summary,
    description,
    ...(body === undefined
      ? {}
      : { requestBody: { required: body.required, content: jsonContent(reference(body.name)) } }),
    responses: {
      '200': {
        description: 'Done.',
        content: contentOf(operation),
      },
      ...failuresOf(operation),
    },
  };
}

function contentOf({ answer, textType }: Operation): Json {
  if (textType !== undefined) return { [textType]: { schema: { type: 'string' } } };
  return jsonContent(answer === undefined ? { type: 'object' } : reference(answer.name));
}

function failuresOf({ failures }: Operation): { readonly [status: string]: Json } {
  const codes = new Map<number, string[]>();
  for (const code of new Set([...failures, ...codesOfAll])) {
    const status = statusOfFailure[code];
    codes.set(status, [...(codes.get(status) ?? []), code]);
  }
  const told = new Map<number, string>(
    Object.entries(serverFailures).map(([status, text]) => [Number(status), sentence(text)]),
  );
  for (const [status, names] of codes) {
    if (!told.has(status)) told.set(status, `${names.join(', ')}.`);
  }
  // An operation of this document is there, and has its method.
  told.delete(404);
  told.delete(405);
  return Object.fromEntries(
    [...told]
      .sort(([one], [other]) => one - other)
      .map(([status, description]) => [
        String(status),
        { description, content: jsonContent(reference('Failure')) },
      ]),
  );
}

function sentence(text: string): string {
  return `${text.slice(0, 1).toUpperCase()}${text.slice(1)}.`;
}

function jsonContent(schema: Json): Json {
  return { 'application/json': { schema } };
}

function reference(name: string): Json {
  return { $ref: `#/components/schemas/${name}` };
}

/** As input: what is no strict object may have more fields, in answers of a later version. */
function jsonSchema(schema: z.ZodMiniType): Json {
  const { $schema: _dialect, ...rest } = z.toJSONSchema(schema, { target: 'draft-2020-12', io: 'input' });
  return JSON.parse(JSON.stringify(rest));
}
