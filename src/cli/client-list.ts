// The file that `client apply` takes: which clients it wants, and on which line each stands, so that what is wrong can be
// found. What a field may hold is the sidecar's to judge.
import { isSeq, LineCounter, parseDocument } from 'yaml';
import { CliError } from './exit-codes.ts';
import { readText } from './terminal.ts';

/** One client of a file. */
export interface WantedClient {
  readonly client_id?: string;
  readonly issuer?: string;
  readonly name?: string;
  /** For a new client of ours only: how long its secret lives. */
  readonly secret_expires?: unknown;
  /** The properties, name included. */
  readonly fields: Readonly<Record<string, unknown>>;
  /** Where it stands, for messages: `clients.yaml:7 (billing)`. */
  readonly place: string;
}

/** Clients of a file: `{clients: [{client_id or name, issuer, …}]}`. Throws CliError `usage` with the line. */
export function readClients(file: string): readonly WantedClient[] {
  const lines = new LineCounter();
  const document = parseDocument(readText(file), { lineCounter: lines });
  const lineOf = (offset: number | undefined) => `${file}:${offset === undefined ? 1 : lines.linePos(offset).line}`;
  const [broken] = document.errors;
  if (broken !== undefined)
    throw new CliError('usage', `${lineOf(broken.pos[0])} is no sound JSON or YAML (${broken.code})`);
  const nodes = document.get('clients');
  const places = isSeq<{ readonly range?: readonly number[] }>(nodes)
    ? nodes.items.map(({ range }) => lineOf(range?.[0]))
    : [];
  return listOf(plain(file, document), file).map((entry, at) => wantedOf(entry, places[at] ?? file));
}

function plain(file: string, document: ReturnType<typeof parseDocument>): unknown {
  try {
    return document.toJS({ maxAliasCount: 0 });
  } catch (cause) {
    throw new CliError('usage', `${file} holds aliases, which client apply does not follow`, { cause });
  }
}

function listOf(document: unknown, file: string): readonly unknown[] {
  const others = isObject(document) ? Object.keys(document).filter((key) => key !== 'clients') : [];
  if (isObject(document) && Array.isArray(document.clients) && others.length === 0) return document.clients;
  throw new CliError('usage', `${file} needs the one member clients, a list`);
}

function wantedOf(entry: unknown, line: string): WantedClient {
  if (!isObject(entry)) throw new CliError('usage', `${line} is no client`);
  const { client_id, issuer, secret_expires, ...fields } = entry;
  for (const [name, value] of Object.entries({ client_id, issuer, name: fields.name })) {
    if (value !== undefined && typeof value !== 'string')
      throw new CliError('usage', `${line} ${name} needs to be text`);
  }
  if (client_id === undefined && fields.name === undefined)
    throw new CliError('usage', `${line} needs client_id or name`);
  const place = `${line} (${fields.name ?? client_id})`;
  return { ...(entry as Pick<WantedClient, 'client_id' | 'issuer' | 'name' | 'secret_expires'>), fields, place };
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
