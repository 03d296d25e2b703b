// Envoy's configuration against the message types that Envoy publishes (in the package of gRPC's xDS client): unknown fields, wrong
// kinds and two choices of one oneof are what Envoy itself refuses a file for. Envoy is in no registry that CI reaches.
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import protobuf from 'protobufjs';

const require = createRequire(import.meta.url);
const folderOf = (name: string) => dirname(require.resolve(`${name}/package.json`));
const published = ['envoy-api', 'xds', 'protoc-gen-validate', 'googleapis'];
const folders = published
  .map((name) => join(folderOf('@grpc/grpc-js-xds'), 'deps', name))
  .concat(folderOf('protobufjs'));

const FILES = [
  'envoy/config/bootstrap/v3/bootstrap.proto',
  'envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.proto',
  'envoy/extensions/filters/http/ext_authz/v3/ext_authz.proto',
  'envoy/extensions/filters/http/router/v3/router.proto',
  'envoy/extensions/upstreams/http/v3/http_protocol_options.proto',
];

/** All types that the shipped files may name. */
export function envoyTypes(): protobuf.Root {
  const root = new protobuf.Root();
  root.resolvePath = (_from, file) => folders.map((folder) => join(folder, file)).find(existsSync) ?? file;
  root.loadSync(FILES, { keepCase: true });
  root.resolveAll();
  return root;
}

const WRAPPED = /^google\.protobuf\.(Bool|UInt32|UInt64|Int32|Int64|Double|Float|String)Value$/;

/** What is wrong with `value` as a message of `type`, each with its path; empty when nothing is. */
export function problemsOf(root: protobuf.Root, type: protobuf.Type, value: unknown, path = ''): readonly string[] {
  const name = type.fullName.slice(1);
  if (name === 'google.protobuf.Any') return problemsOfAny(root, value, path);
  if (name === 'google.protobuf.Duration') return problemIf(!/^\d+(\.\d+)?s$/.test(String(value)), path, 'no duration');
  if (WRAPPED.test(name)) return problemIf(typeof value === 'object', path, 'no single value');
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return [`${path}: no ${name}`];
  const problems: string[] = [];
  for (const [key, inner] of Object.entries(value)) {
    const field = type.fields[key];
    const at = `${path}/${key}`;
    if (key === '@type') continue;
    if (field === undefined) problems.push(`${at}: unknown to ${name}`);
    else problems.push(...problemsOfField(root, field, inner, at));
  }
  for (const { name: choice, fieldsArray } of type.oneofsArray) {
    const chosen = fieldsArray.filter((field) => Object.hasOwn(value, field.name));
    if (chosen.length > 1) problems.push(`${path}: more than one ${choice}`);
  }
  return problems;
}

const problemIf = (isWrong: boolean, path: string, what: string) => (isWrong ? [`${path}: ${what}`] : []);

function problemsOfAny(root: protobuf.Root, value: unknown, path: string): readonly string[] {
  const url = (value as Record<string, unknown>)['@type'];
  const match = /^type\.googleapis\.com\/(.+)$/.exec(String(url));
  if (match === null) return [`${path}: no @type`];
  return problemsOf(root, root.lookupType(match[1] as string), value, path);
}

function problemsOfField(root: protobuf.Root, field: protobuf.Field, value: unknown, path: string): readonly string[] {
  if (field.map) {
    return Object.entries(value as object).flatMap(([key, inner]) =>
      problemsOfOne(root, field, inner, `${path}/${key}`),
    );
  }
  if (!field.repeated) return problemsOfOne(root, field, value, path);
  if (!Array.isArray(value)) return [`${path}: no list`];
  return value.flatMap((inner, at) => problemsOfOne(root, field, inner, `${path}/${at}`));
}

function problemsOfOne(root: protobuf.Root, field: protobuf.Field, value: unknown, path: string): readonly string[] {
  const { resolvedType } = field;
  if (resolvedType instanceof protobuf.Type) return problemsOf(root, resolvedType, value, path);
  if (resolvedType instanceof protobuf.Enum)
    return problemIf(!Object.hasOwn(resolvedType.values, String(value)), path, 'no such word');
  const kind = field.type === 'string' ? 'string' : field.type === 'bool' ? 'boolean' : 'number';
  return problemIf(typeof value !== kind, path, `no ${kind}`);
}
