// Connections full of oddities: some requests of a connection are sound, others have one or two of what two servers are
// known to read differently. The same seed gives the same connection.
import type { Random } from '../random.ts';

/** A generated connection. */
export interface Script {
  readonly bytes: string;
  /** The bytes in the pieces in which they are sent. */
  readonly pieces: readonly string[];
  /** Nothing odd was put in: every request must be answered. */
  readonly sound: boolean;
}

/** Tokens that requests carry. */
export interface Tokens {
  readonly good: string;
  readonly bad: string;
}

/** Methods of sound requests. */
export const METHODS = ['GET', 'GET', 'GET', 'HEAD', 'POST', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH'];
/** Methods that are none, or that are not let through. */
export const ODD_METHODS = ['get', 'FOO', 'TRACE', 'CONNECT', 'PRI', 'QUERY', 'GET\t', 'G ET', ''];
/** Places beside and inside each other. */
export const STARTS = ['/public', '/public/', '/admin', '/', '/a/b', '/public/x', '/public/admin', '/files'];
const SEGMENTS = [
  '/', '//', '/.', '/..', '/...', '/%2e', '/%2E%2e', '/.%2e', '%2f', '%2F', '%5c', '\\', '%25', '%252e', '%252f', '%252e%252e', ';', ';x=1', '/..;/',
  '/;/', '%3b', '%00', '%0a', '%0d%0a', '%09', '%20', '%7f', '%c0%ae', '%c0%af', '%e0%80%ae', '%ef%bc%8f', '%e2%80%ae', '#', '%23', '%3f', '%', '%zz', '%2',
  '%u002e', 'admin', '/admin', '/ADMIN', '/%61dmin', '/adm%69n', '/admin.', '/admin%20', '/admin;', 'a', 'b', '~', '*', '@', ':80', '&', '=', '+', "'",
  '(', '[', '|', '"', '<', '{x}', '^', '`', '$', '!', ',', '\xe9', '\xff', '\xc0\xae', '%e9', '/public/../admin', '/x/../../admin', '/./admin',
]; // biome-ignore format: a word list
const QUERIES = [
  '',
  '',
  '',
  '?',
  '?a=b',
  '?/../admin',
  '?a=%00',
  '?x=/public',
  '?a=b?c',
  '?%2e%2e',
  '?a=\xe9',
  '?access_token=x',
  '?a#b',
];
/** Lines of Host. */
export const HOSTS = [
  ['Host: app'], ['Host: app'], ['Host: APP'], ['Host: app.'], ['Host: app:80'], ['host:app'], [], ['Host: app', 'Host: app'], ['Host: app', 'Host: evil'],
  ['Host: a,b'], ['Host:'], ['Host: app/x'], ['Host: u@app'], ['Host: [::1]'], ['Host: app\tx'], ['Host: app;x'], ['Host: \xe9'], ['Host: app', 'X_Host: evil'],
]; // biome-ignore format: a word list
const VERSIONS = [
  'HTTP/1.0',
  'HTTP/1.2',
  'HTTP/2.0',
  'http/1.1',
  'HTTP/1.1 ',
  'HTTP/1.1\t',
  'HTTP/01.1',
  'HTTP/1.10',
  '',
  'HTTP/1.1x',
  'HTTP/1,1',
];
/** Lines of a head, one or two each. */
export const FIELDS = [
  'x-auth-subject: mallory', 'X_Auth_Subject: mallory', 'X.Auth.Subject: mallory', 'x-auth-roles: admin', 'x-auth-scopes:admin', 'X-Auth-Tenant:  t ',
  'x-auth-subject : mallory', ' x-auth-subject: mallory', '\tx: folded', 'A: b\r\n x-auth-subject: mallory', 'A: b\r\n\tc', ': empty', 'no colon', 'X[]: y', 'X\xe9: y',
  'X: a\rb', 'X: a\nx-auth-subject: mallory', 'X: a\0b', 'X: \x7f', 'X: a\x0bb', 'X: \xff\xfe', 'X:', 'X: ', 'X:\t\ty\t', '"x": y', 'x(y): z',
  'Connection: close', 'Connection: keep-alive', 'Connection: x-auth-subject', 'Connection: close, x-auth-subject', 'Connection: content-length',
  'Connection: transfer-encoding', 'Connection: host', 'Connection: upgrade', 'Connection: ,,', 'Connection: keep-alive\r\nConnection: close', 'Keep-Alive: timeout=1',
  'Proxy-Connection: keep-alive', 'TE: trailers', 'TE: chunked', 'Trailer: x-auth-subject', 'Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AAMAAABk',
  'Upgrade: websocket\r\nConnection: Upgrade', 'Upgrade: websocket', 'Upgrade: TLS/1.0\r\nConnection: upgrade', 'Expect: 100-continue', 'Expect: 100-Continue, x', 'Expect: x',
  'X-Forwarded-For: 1.2.3.4', 'X-Forwarded-Host: evil', 'X-Original-URL: /public', 'X-Rewrite-URL: /admin', 'Forwarded: for=1.2.3.4', 'X-HTTP-Method-Override: DELETE',
  'X-Request-Id: mine', 'X_Request_Id: mine', 'Content_Length: 3', 'Transfer_Encoding: chunked', 'Transfer-Encoding_: chunked', 'Content-Length : 3', 'Cookie: a=b', 'Max-Forwards: 0',
]; // biome-ignore format: a word list
/** Values of Content-Length for five bytes. */
export const LENGTHS = [
  '+5',
  '-1',
  '0x5',
  '5,5',
  '5, 6',
  '5 ',
  '005',
  '',
  ' ',
  '5\t',
  '1e1',
  '٥',
  '5;x',
  '99999999999999999999',
  '18446744073709551621',
  '4',
  '6',
  '5.0',
];
const CODINGS = [
  'chunked', 'Chunked', 'CHUNKED', ' chunked', 'chunked ', '\tchunked', 'xchunked', 'chunked, identity', 'identity, chunked', 'identity', 'gzip, chunked', 'chunked, chunked',
  'chunked;q=1', '"chunked"', '\x0bchunked', 'chunked\x0b', 'chunked\0', 'cow', '', ',chunked', 'chunked,', 'chun\tked', 'chunked\r\nTransfer-Encoding: chunked',
  'chunked\r\nTransfer-Encoding: identity', 'chunked\nx: y', 'chunked\r\n ',
]; // biome-ignore format: a word list
const SIZES = [
  '5',
  '05',
  '0000000005',
  '5;a=b',
  '5 ;a',
  '5;',
  '5;a="\r',
  '5;a\nb',
  '5\t',
  '+5',
  '0x5',
  ' 5',
  '5 5',
  '-5',
  '5g',
  '',
  'FFFFFFFFFFFFFFFF5',
  '100000000',
  '6',
  '4',
  '5\r',
  '5;\x7f',
  '5;\0',
  '5,5',
  '5;\xff',
];
const CHUNK_ENDS = ['\r\n', '\r\n', '\r\n', '\n', '\r', '', '\r\n\r\n', ' \r\n', '\n\r'];
const LAST = [
  '0\r\n\r\n',
  '0\r\n\r\n',
  '00\r\n\r\n',
  '0;x\r\n\r\n',
  '0\r\nx-auth-subject: mallory\r\n\r\n',
  '0\n\n',
  '0\r\n\n',
  '0\r\n',
  '0\r\n\r',
  '',
  '0\r\nbad trailer\r\n\r\n',
  '0\r\n : x\r\n\r\n',
  '-0\r\n\r\n',
  '0\r\nContent-Length: 9\r\n\r\n',
  '0\r\n\r\n\r\n',
];

/** A connection of one to four requests; `number` makes their tags unique. */
export function makeScript(random: Random, number: number, tokens: Tokens): Script {
  let bytes = '';
  let sound = true;
  const count = 1 + random.below(4);
  for (let at = 0; at < count; at += 1) {
    const oddities = random.chance(0.45) ? 0 : 1 + random.below(2);
    if (oddities > 0) sound = false;
    bytes += makeRequest(random, `m${number}-${at}`, oddities, tokens);
    if (random.chance(0.03)) bytes += '\r\n';
  }
  return { bytes, pieces: cut(random, bytes), sound };
}

/** The same bytes in one piece, in two, in many, or one by one. */
export function cut(random: Random, bytes: string): readonly string[] {
  const way = random.below(4);
  if (way === 0 || bytes.length > 4000) return [bytes];
  if (way === 1) {
    const at = random.below(bytes.length);
    return [bytes.slice(0, at), bytes.slice(at)];
  }
  if (way === 2 && bytes.length < 400) return [...bytes];
  const pieces: string[] = [];
  for (let at = 0; at < bytes.length; ) {
    const end = at + 1 + random.below(120);
    pieces.push(bytes.slice(at, end));
    at = end;
  }
  return pieces;
}

interface Draft {
  method: string;
  target: string;
  version: string;
  host: readonly string[];
  fields: string[];
  body: string;
  ending: string;
}

function makeRequest(random: Random, tag: string, oddities: number, tokens: Tokens): string {
  const draft: Draft = {
    method: random.pick(METHODS),
    target: random.pick(STARTS) + (random.chance(0.3) ? '?a=b' : ''),
    version: 'HTTP/1.1',
    host: ['Host: app'],
    fields: [`X-Tag: ${tag}`],
    body: '',
    ending: '\r\n',
  };
  const credential = random.below(5);
  if (credential < 3) draft.fields.push(`Authorization: Bearer ${credential === 2 ? tokens.bad : tokens.good}`);
  const framing = random.below(3);
  const smuggled = `GET /admin HTTP/1.1\r\nHost: app\r\nX-Tag: ${tag}s\r\n\r\n`;
  const content = random.chance(0.3) ? smuggled : 'hello';
  if (framing === 1) frameByLength(draft, content);
  if (framing === 2) frameByChunks(random, draft, content, false);
  for (let at = 0; at < oddities; at += 1) random.pick(ODDITIES)(random, draft, content);
  const order = random.chance(0.5) ? [...draft.host, ...draft.fields] : [...draft.fields, ...draft.host];
  const lines = [`${draft.method} ${draft.target}${draft.version === '' ? '' : ' '}${draft.version}`, ...order];
  return lines.map((line) => line + draft.ending).join('') + draft.ending + draft.body;
}

function frameByLength(draft: Draft, content: string): void {
  draft.fields.push(`Content-Length: ${content.length}`);
  draft.body = content;
}

function frameByChunks(random: Random, draft: Draft, content: string, odd: boolean): void {
  draft.fields.push('Transfer-Encoding: chunked');
  const half = random.below(content.length + 1);
  const parts = [content.slice(0, half), content.slice(half)].filter((part) => part !== '');
  const size = (part: string) => (odd && random.chance(0.6) ? random.pick(SIZES) : part.length.toString(16));
  const end = () => (odd ? random.pick(CHUNK_ENDS) : '\r\n');
  draft.body =
    parts.map((part) => `${size(part)}${end()}${part}${end()}`).join('') + (odd ? random.pick(LAST) : '0\r\n\r\n');
}

function withoutFraming(draft: Draft): void {
  draft.fields = draft.fields.filter((field) => !/^(?:content-length|transfer-encoding):/i.test(field));
}

type Oddity = (random: Random, draft: Draft, content: string) => void;

/** A path with one to four tricks, and a query. */
export function oddTarget(random: Random): string {
  const pieces = Array.from({ length: 1 + random.below(4) }, () => random.pick(SEGMENTS));
  return random.pick(STARTS) + pieces.join('') + random.pick(QUERIES);
}

const oddPath: Oddity = (random, draft) => {
  draft.target = oddTarget(random);
};

const oddField: Oddity = (random, draft) => {
  draft.fields.splice(random.below(draft.fields.length + 1), 0, random.pick(FIELDS));
};

const ODDITIES: readonly Oddity[] = [
  oddPath,
  oddPath,
  oddPath,
  oddField,
  oddField,
  oddField,
  (random, draft) => {
    draft.method = random.pick(ODD_METHODS);
  },
  (random, draft) => {
    draft.version = random.pick(VERSIONS);
  },
  (random, draft) => {
    draft.host = random.pick(HOSTS);
  },
  (random, draft) => {
    const origin = random.pick([
      'http://app',
      'http://APP:80',
      'https://app',
      'http://evil',
      'http://u@app',
      'ftp://app',
      '//app',
      '*',
      'app:80',
      'http:',
      'http://app#',
    ]);
    draft.target = origin + random.pick(['', draft.target, '/../admin', '?x']);
  },
  (random, draft, content) => {
    withoutFraming(draft);
    draft.fields.push(`Content-Length: ${random.pick(LENGTHS)}`);
    draft.body = content;
  },
  (random, draft, content) => {
    withoutFraming(draft);
    frameByChunks(random, draft, content, false);
    draft.fields[draft.fields.length - 1] = `Transfer-Encoding: ${random.pick(CODINGS)}`;
  },
  (random, draft, content) => {
    withoutFraming(draft);
    frameByChunks(random, draft, content, true);
  },
  (random, draft, content) => {
    withoutFraming(draft);
    frameByChunks(random, draft, content, false);
    draft.fields.splice(
      random.below(draft.fields.length),
      0,
      `Content-Length: ${random.pick([0, content.length, draft.body.length, 3])}`,
    );
  },
  (random, draft, content) => {
    withoutFraming(draft);
    const lengths = [content.length, random.pick([content.length, 0, content.length + 1])];
    draft.fields.push(...lengths.map((length) => `${random.pick(['Content-Length', 'content-length'])}: ${length}`));
    draft.body = content;
  },
  (random, draft) => {
    draft.ending = random.pick(['\n', '\r', '\r\r\n', ' \r\n']);
  },
  (random, draft) => {
    draft.fields.push(`X-Huge: ${'h'.repeat(random.pick([8000, 17_000, 40_000]))}`);
  },
];
