// Holds every answer that a test gets from the admin port against the OpenAPI document: status, media type, body, fields. A
// success also proves that the document allows what was sent.
import assert from 'node:assert/strict';
import { Ajv2020, type ValidateFunction } from 'ajv/dist/2020.js';
import addFormats from 'ajv-formats';
import { findEndpoint, operations } from '../../src/admin/endpoints.ts';
import { apiDocument, type JsonObject } from '../../src/admin/openapi.ts';
import type { Answer } from './admin-sidecar.ts';

/** The document of the program under test. */
export const document = apiDocument(operations, '0.0.0');

/** One operation of the document. */
export interface Operation {
  readonly operationId: string;
  readonly requestBody?: { readonly content: { readonly 'application/json': { readonly schema: JsonObject } } };
  readonly responses: Readonly<
    Record<string, { readonly content?: JsonObject; readonly 'x-codes'?: readonly string[] }>
  >;
}

const paths = document.paths as unknown as Readonly<Record<string, Readonly<Record<string, Operation>>>>;
const ajv = new Ajv2020({ strict: false, allErrors: true });
(addFormats as unknown as (ajv: Ajv2020) => void)(ajv);
ajv.addSchema(document as object, 'api');
const compiled = new Map<string, ValidateFunction>();

function validator(...pointer: readonly string[]): ValidateFunction {
  const $ref = `api#/${pointer.map((part) => encodeURIComponent(part.replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')}`;
  const found = compiled.get($ref) ?? ajv.compile({ $ref });
  compiled.set($ref, found);
  return found;
}

function assertValid(value: unknown, what: string, ...pointer: readonly string[]): void {
  const validate = validator(...pointer);
  assert.ok(validate(value), `${what}: ${ajv.errorsText(validate.errors)} in ${JSON.stringify(value).slice(0, 500)}`);
}

/** Every operation of the document. */
export const documented: readonly (Operation & { readonly path: string; readonly method: string })[] = Object.entries(
  paths,
).flatMap(([path, methods]) => Object.entries(methods).map(([method, row]) => ({ ...row, path, method })));

/** Fails when the answer is not one that the document announces for the call. */
export function holdAgainstDocument(method: string, target: string, body: unknown, answer: Answer): void {
  const path = target.split('?', 1)[0] as string;
  if (!path.startsWith('/v1/') || method === 'HEAD') return;
  const found = findEndpoint(method, path);
  const what = `${method} ${path} ${answer.status}`;
  if (found === undefined || !('endpoint' in found)) {
    assertProblem(answer, what);
    return;
  }
  const at = ['paths', found.endpoint.path, method.toLowerCase()];
  const operation = paths[found.endpoint.path]?.[method.toLowerCase()] as Operation;
  const response = operation.responses[String(answer.status)];
  assert.ok(response, `${what} is not in the document: ${answer.text.slice(0, 300)}`);
  if (answer.status >= 400) {
    assertProblem(answer, what);
    assert.ok(response['x-codes']?.includes(String(answer.json.code)), `${what}: code ${answer.json.code}`);
    return;
  }
  if (response.content === undefined) assert.equal(answer.text, '', what);
  else {
    assert.equal(answer.headers['content-type'], 'application/json', what);
    const shape = [...at, 'responses', String(answer.status), 'content', 'application/json', 'schema'];
    assertValid(answer.json, what, ...shape);
  }
  if (body === undefined) return;
  assert.ok(operation.requestBody, `${what}: the document has no body`);
  assertValid(body, `${what}, sent`, ...at, 'requestBody', 'content', 'application/json', 'schema');
}

function assertProblem(answer: Answer, what: string): void {
  assert.equal(answer.headers['content-type'], 'application/problem+json', what);
  assertValid(answer.json, what, 'components', 'schemas', 'Problem');
  assert.equal(answer.json.status as unknown as number, answer.status, what);
}
