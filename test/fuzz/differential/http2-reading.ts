// The reference reading of one HTTP/2 stream: what RFC 9113 section 8 calls malformed is no request; fields whose name or value
// cannot be written in HTTP/1.1 count as not sent (docs/tls.md). No code of src is used here.
import type { FieldList } from './http2-frames.ts';
import type { SentStream } from './http2-grammar.ts';
import type { ReadRequest } from './reading.ts';

const NAME = /^[!#$%&'*+.^_`|~0-9a-z-]+$/;
const VALUE = /^(?![\t ])[\t\x20-\x7e\x80-\xff]*(?<![\t ])$/;
const TARGET = /^\/[\x21-\x7e\x80-\xff]*$/;
const METHOD = /^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/;
/** What a host may be made of: no user before it (RFC 9113 section 8.3.1). */
const AUTHORITY = /^[\w.~%!$&'()*+,;=:[\]-]*$/;
const PSEUDO = new Set([':method', ':scheme', ':path', ':authority']);
const CONNECTION = new Set([
  'connection',
  'proxy-connection',
  'keep-alive',
  'transfer-encoding',
  'upgrade',
  'http2-settings',
]);

/**
 * The request of a stream, with its host as a field; undefined where nobody may see one. With a length it is all there when so
 * many bytes are, whatever becomes of the stream: HTTP/1.1 knows no other end.
 */
export function readStream({ fields, body, trailers, whole }: SentStream): ReadRequest | undefined {
  if (!isSoundList(fields)) return undefined;
  const firstPlain = fields.findIndex(([name]) => !name.startsWith(':'));
  const pseudo = fields.filter(([name]) => name.startsWith(':'));
  if (firstPlain >= 0 && pseudo.length > firstPlain) return undefined;
  const one = Object.fromEntries(pseudo);
  if (new Set(pseudo.map(([name]) => name)).size < pseudo.length || !pseudo.every(([name]) => PSEUDO.has(name)))
    return undefined;
  const { ':method': method = '', ':scheme': scheme = '', ':path': target = '', ':authority': authority } = one;
  if (!METHOD.test(method) || !TARGET.test(target) || !/^https?$/i.test(scheme)) return undefined;
  const plain = fields.slice(pseudo.length).filter(([name, value]) => NAME.test(name) && VALUE.test(value));
  const hosts = plain.filter(([name, value]) => name === 'host' && AUTHORITY.test(value)).map(([, value]) => value);
  const host = authority ?? hosts[0];
  if (host === undefined || hosts.length > 1 || hosts.some((each) => each.toLowerCase() !== host.toLowerCase()))
    return undefined;
  const lengths = plain.filter(([name]) => name === 'content-length').map(([, value]) => value);
  const length = Number(lengths[0] ?? 0);
  if (lengths.length > 1 || lengths.some((each) => !/^\d+$/.test(each)) || length > body.length) return undefined;
  const isEnded = whole && isSoundList(trailers) && !trailers.some(([name]) => name.startsWith(':'));
  if (!isEnded && lengths.length === 0) return undefined;
  const others = plain.filter(([name]) => name !== 'host');
  const said = lengths.length === 0 ? body : body.slice(0, length);
  return { method, target, fields: [...others, ['host', host]], body: said, end: 0 };
}

/** No name in upper case, nothing that belongs to a connection. */
function isSoundList(list: FieldList): boolean {
  return list.every(
    ([name, value]) =>
      !/[A-Z]/.test(name) && !CONNECTION.has(name) && (name !== 'te' || value.toLowerCase() === 'trailers'),
  );
}
