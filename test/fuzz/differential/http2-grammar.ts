// Connections of HTTP/2 with one to four streams whose frames come interleaved: some streams are sound, others have one or two
// of what proxies are known to translate wrongly into HTTP/1.1. The same seed gives the same connection.
import { frame, frameTypes } from '../../support/http2-client.ts';
import type { Random } from '../random.ts';
import { cut, FIELDS, HOSTS, LENGTHS, METHODS, ODD_METHODS, oddTarget, STARTS, type Tokens } from './grammar.ts';
import { dataFrame, type FieldList, HeaderEncoder, headerFrames, integer } from './http2-frames.ts';

/** A stream as it was sent. */
export interface SentStream {
  readonly id: number;
  readonly tag: string;
  readonly fields: FieldList;
  /** What was sent of it. */
  readonly body: string;
  readonly trailers: FieldList;
  /** Its end was sent, and nothing before that had ended the connection or it. */
  readonly whole: boolean;
  /** Its client has reset it, before or behind its end. */
  readonly withdrawn: boolean;
  /** Nothing odd was put in: it must be answered unless another stream ends the connection. */
  readonly sound: boolean;
}

/** A generated connection. */
export interface Http2Script {
  readonly pieces: readonly string[];
  readonly streams: readonly SentStream[];
  /** All streams are sound, and nothing else is odd. */
  readonly sound: boolean;
  /** The connection must end. */
  readonly fatal: boolean;
  /** Frames for the reader of a finding. */
  readonly shown: readonly string[];
}

type Field = [name: string, value: string];

interface Draft {
  readonly tag: string;
  fields: Field[];
  bodies: string[];
  trailers: Field[];
  /** Frames behind the head, in the place of DATA and trailers, that break the stream off before its end. */
  breaks: ((id: number) => Buffer) | undefined;
  /** Sent behind its end. */
  after: ((id: number) => Buffer) | undefined;
  trailersEnd: boolean;
  sound: boolean;
}

const SMUGGLED = 'GET /admin HTTP/1.1\r\nHost: app\r\nX-Tag: smuggled\r\n\r\n';
const BODIES = ['hello', 'hello', SMUGGLED, `0\r\n\r\n${SMUGGLED}`, '', 'x'.repeat(9000)];
const MORE_PSEUDO: readonly Field[] = [
  [':path', '/admin'],
  [':path', ''],
  [':method', 'DELETE'],
  [':authority', 'evil'],
  [':scheme', 'https'],
  [':status', '200'],
  [':protocol', 'websocket'],
  [':verdict', 'allow'],
  [':', 'x'],
  [':Path', '/admin'],
];
const TARGETS = [
  '*',
  '',
  'admin',
  'http://app/admin',
  'http://evil/public',
  '//app/admin',
  '?x',
  '/ HTTP/1.1',
  '/public HTTP/1.1\r\nx-auth-subject: mallory',
  '/\0',
  '/public\t',
  ' /public',
];
const SCHEMES = ['https', 'HTTP', 'ftp', '', 'http ', 'http/1', 'javascript'];
const CONNECTION_FIELDS: readonly Field[] = [
  ['connection', 'close'],
  ['connection', 'x-auth-subject'],
  ['keep-alive', 'timeout=1'],
  ['proxy-connection', 'close'],
  ['transfer-encoding', 'chunked'],
  ['transfer-encoding', 'identity'],
  ['upgrade', 'websocket'],
  ['http2-settings', 'AAMAAABk'],
  ['te', 'trailers'],
  ['te', 'gzip'],
  ['te', 'trailers, chunked'],
  ['TE', 'trailers'],
  ['transfer_encoding', 'chunked'],
  ['content_length', '3'],
];
const TRAILERS: readonly Field[] = [
  ['x-sum', 'abc'],
  ['x-auth-subject', 'mallory'],
  ['x_auth_subject', 'mallory'],
  ['X-Auth-Subject', 'mallory'],
  ['x-tag', 'mallory'],
  ['x-request-id', 'mine'],
  ['content-length', '5'],
  ['content-length', '9'],
  ['transfer-encoding', 'chunked'],
  ['connection', 'close'],
  ['host', 'evil'],
  ['authorization', 'Bearer x'],
  ['cookie', 'a=b'],
  [':path', '/admin'],
  [':authority', 'evil'],
  ['x-sum', 'a\r\nx-auth-subject: mallory'],
  ['x sum', 'a'],
  ['', 'a'],
  ['constructor', 'a'],
];

/** A connection of one to four streams; `number` makes their tags unique. */
export function makeHttp2Script(random: Random, number: number, tokens: Tokens): Http2Script {
  const drafts = Array.from({ length: 1 + random.below(4) }, (_none, at) => {
    const draft = makeDraft(random, `m${number}-${at}`, tokens);
    const oddities = random.chance(0.45) ? 0 : 1 + random.below(2);
    for (let odd = 0; odd < oddities; odd += 1) random.pick(ODDITIES)(random, draft);
    draft.sound = oddities === 0;
    return draft;
  });
  return interleave(random, drafts);
}

function makeDraft(random: Random, tag: string, tokens: Tokens): Draft {
  const method = random.pick(METHODS);
  const path = random.pick(STARTS) + (random.chance(0.3) ? '?a=b' : '');
  const pseudo: Field[] = [[':method', method], [':scheme', 'http'], [':path', path]]; // biome-ignore format: one line reads better
  const fields: Field[] = [['x-tag', tag]];
  const credential = random.below(5);
  if (credential < 3) fields.push(['authorization', `Bearer ${credential === 2 ? tokens.bad : tokens.good}`]);
  if (random.chance(0.8)) pseudo.splice(random.below(4), 0, [':authority', 'app']);
  else fields.splice(random.below(3), 0, ['host', 'app']);
  const draft: Draft = {
    tag,
    fields: [...shuffled(random, pseudo), ...fields],
    bodies: [],
    trailers: [],
    breaks: undefined,
    after: undefined,
    trailersEnd: true,
    sound: true,
  };
  if (random.chance(0.5)) putBody(random, draft);
  if (random.chance(0.2)) draft.trailers.push(['x-sum', 'abc']);
  return draft;
}

function shuffled(random: Random, fields: readonly Field[]): Field[] {
  const rest = [...fields];
  return fields.map(() => rest.splice(random.below(rest.length), 1)[0] as Field);
}

function putBody(random: Random, draft: Draft): void {
  const body = random.pick(BODIES);
  const at = random.below(body.length + 1);
  draft.bodies = random.chance(0.5) ? [body] : [body.slice(0, at), body.slice(at)];
  if (random.chance(0.5)) draft.fields.push(['content-length', String(body.length)]);
}

type Oddity = (random: Random, draft: Draft) => void;

/** Changes, drops, doubles or moves one field of a list. */
const put = (random: Random, draft: Draft, field: Field) => {
  draft.fields.splice(random.below(draft.fields.length + 1), 0, field);
};
const change = (draft: Draft, name: string, value: string) => {
  const found = draft.fields.find(([given]) => given === name);
  if (found === undefined) draft.fields.unshift([name, value]);
  else draft.fields[draft.fields.indexOf(found)] = [name, value];
};

/** `Name: value` lines of HTTP/1.1 as fields; in lower case nearly always, because all else is refused at once. */
function fieldsOf(random: Random, lines: string): Field[] {
  return lines.split('\r\n').map((line) => {
    const colon = line.indexOf(':', 1);
    const name = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? '' : line.slice(colon + 1).replace(/^ /, '');
    return [random.chance(0.9) ? name.toLowerCase() : name, value];
  });
}

const oddPath: Oddity = (random, draft) => change(draft, ':path', oddTarget(random));
const oddField: Oddity = (random, draft) => {
  const fields = fieldsOf(random, random.pick(FIELDS));
  for (const field of fields) draft.fields.push(field);
};
/** Any field but the one by which the run knows the request. */
const pickUntagged = (random: Random, { fields }: Draft) => random.pick(fields.filter(([name]) => name !== 'x-tag'));
const reset = (id: number) => frame(frameTypes.rst, 0, id, Buffer.from([0, 0, 0, 8]));

const ODDITIES: readonly Oddity[] = [
  oddPath,
  oddPath,
  oddPath,
  oddField,
  oddField,
  oddField,
  (random, draft) => change(draft, ':path', random.pick(TARGETS)),
  (random, draft) => change(draft, ':method', random.pick(ODD_METHODS)),
  (random, draft) => change(draft, ':scheme', random.pick(SCHEMES)),
  (random, draft) => put(random, draft, random.pick(MORE_PSEUDO)),
  (random, draft) => put(random, draft, random.pick(CONNECTION_FIELDS)),
  // Missing, or behind others.
  (random, draft) => {
    draft.fields.splice(draft.fields.indexOf(pickUntagged(random, draft)), 1);
  },
  (random, draft) => {
    const [moved] = draft.fields.splice(random.below(4), 1) as [Field];
    draft.fields.push(moved);
  },
  // The same twice, or with another spelling of the name.
  (random, draft) => {
    const [name, value] = pickUntagged(random, draft);
    put(random, draft, [random.chance(0.7) ? name : name.toUpperCase(), value]);
  },
  (random, draft) => {
    const hosts = random.pick(HOSTS).flatMap((line) => fieldsOf(random, line));
    if (random.chance(0.5)) draft.fields = draft.fields.filter(([name]) => name !== ':authority');
    if (random.chance(0.3)) change(draft, ':authority', hosts[0]?.[1] ?? '');
    else draft.fields.push(...hosts);
  },
  (random, draft) => {
    draft.fields = draft.fields.filter(([name]) => name !== 'content-length');
    const body = draft.bodies.join('').length;
    const length = random.pick([random.pick(LENGTHS), '0', String(body + 1), String(Math.max(0, body - 1)), String(body)]);
    draft.fields.push(['content-length', length]);
    if (random.chance(0.2)) draft.fields.push(['content-length', String(body)]);
  },
  (random, draft) => {
    draft.trailers.push(random.pick(TRAILERS), ...(random.chance(0.3) ? [random.pick(TRAILERS)] : []));
  },
  (random, draft) => {
    if (draft.trailers.length === 0) draft.trailers.push(['x-sum', 'abc']);
    draft.trailersEnd = random.chance(0.2);
  },
  (random, draft) => {
    draft.breaks = random.pick([reset, (id) => frame(8, 0, id, Buffer.alloc(4)), (id) => frame(8, 0, id, Buffer.from([0x7f, 0xff, 0xff, 0xff]))]);
  },
  (random, draft) => {
    draft.after = random.pick([reset, (id) => dataFrame(random, id, SMUGGLED, true), (id) => frame(frameTypes.headers, 5, id, Buffer.from([0x82, 0x86, 0x84]))]);
  },
  (random, draft) => {
    draft.fields.push(['x-huge', 'h'.repeat(random.pick([8000, 17_000, 40_000]))]);
  },
  (random, draft) => {
    draft.fields.push(['cookie', 'a=b'], ['cookie', random.pick(['c=d', '', 'x\r\ny: z', 'a=b; c'])]);
  },
]; // biome-ignore format: a list of choices

/** Frames that mean nothing to anybody. */
const HARMLESS: readonly ((random: Random) => Buffer)[] = [
  () => frame(frameTypes.ping, 0, 0, Buffer.alloc(8)),
  () => frame(frameTypes.settings, 0, 0, Buffer.from([0, 3, 0, 0, 0, 100])),
  () => frame(0x42, 0xff, 0, Buffer.from('unknown')),
  () => frame(8, 0, 0, Buffer.from([0, 0, 0x10, 0])),
  (random) => frame(2, 0, 1001, Buffer.from([0, 0, 0, random.pick([0, 3]), 16])),
];

/** Frames that end the connection: nothing behind them may count (RFC 9113 section 5.4.1). */
const FATAL: readonly ((random: Random) => Buffer)[] = [
  (random) => dataFrame(random, 0, SMUGGLED, false),
  () => frame(frameTypes.continuation, 4, 1, Buffer.from([0x82])),
  () => frame(frameTypes.headers, 5, 2, Buffer.from([0x82, 0x86, 0x84])),
  () => frame(frameTypes.headers, 5, 0, Buffer.from([0x82, 0x86, 0x84])),
  () => frame(frameTypes.ping, 0, 0, Buffer.alloc(7)),
  () => frame(frameTypes.settings, 0, 0, Buffer.alloc(5)),
  () => frame(frameTypes.settings, 1, 0, Buffer.alloc(6)),
  () => frame(frameTypes.settings, 0, 3, Buffer.alloc(6)),
  () => frame(5, 4, 1, Buffer.from([0, 0, 0, 2, 0x82])),
  () => frame(frameTypes.rst, 0, 0, Buffer.alloc(4)),
  () => frame(frameTypes.rst, 0, 999, Buffer.alloc(4)),
  () => frame(8, 0, 0, Buffer.alloc(4)),
  () => frame(8, 0, 0, Buffer.from([0x7f, 0xff, 0xff, 0xff])),
  // Header blocks that end no stream but the connection: index 0, an index that nobody knows, a string that is not there.
  () => frame(frameTypes.headers, 5, 901, Buffer.from([0x80])),
  () => frame(frameTypes.headers, 5, 901, integer(0x80, 7, 9999)),
  () => frame(frameTypes.headers, 5, 901, Buffer.from([0x00, 0x05, 0x61])),
  () => frame(frameTypes.headers, 5, 901, integer(0x20, 5, 1_000_000)),
  // Padding longer than its frame; another frame within a header block.
  () => frame(frameTypes.headers, 4 | 1 | 8, 901, Buffer.from([200, 0x82])),
  () => Buffer.concat([frame(frameTypes.headers, 1, 901, Buffer.from([0x82])), frame(frameTypes.ping, 0, 0, Buffer.alloc(8))]),
  () => Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
]; // biome-ignore format: a list of choices

/** What one stream still has to send. */
interface Unit {
  readonly shown: string;
  readonly ends: boolean;
  /** What it adds to the body. */
  readonly data: string;
  bytes(id: number): Buffer;
}

function unitsOf(random: Random, encoder: HeaderEncoder, draft: Draft): Unit[] {
  const { bodies, trailers, breaks, after } = draft;
  const parts = breaks === undefined ? bodies : bodies.slice(0, random.below(bodies.length + 1));
  const hasTrailers = trailers.length > 0 && breaks === undefined;
  const headers = (fields: FieldList, ends: boolean): Unit => ({
    shown: `HEADERS${ends ? ' END_STREAM' : ''} ${JSON.stringify(fields)}`,
    ends,
    data: '',
    bytes: (id) => Buffer.concat(headerFrames(random, id, encoder.block(random, fields), ends)),
  });
  const units = [headers(draft.fields, parts.length === 0 && !hasTrailers && breaks === undefined)];
  for (const [at, part] of parts.entries()) {
    const ends = at === parts.length - 1 && !hasTrailers && breaks === undefined;
    const shown = `DATA${ends ? ' END_STREAM' : ''} ${JSON.stringify(part)}`;
    units.push({ shown, ends, data: part, bytes: (id) => dataFrame(random, id, part, ends) });
  }
  if (hasTrailers) units.push(headers(trailers, draft.trailersEnd));
  for (const bytes of [breaks, after]) {
    if (bytes !== undefined) units.push({ shown: bytes(0).toString('hex'), ends: false, data: '', bytes });
  }
  return units;
}

/** Frames of all streams in turn, each stream's in order; streams get their numbers as they begin. */
function interleave(random: Random, drafts: readonly Draft[]): Http2Script {
  const encoder = new HeaderEncoder();
  const lanes = drafts.map((draft) => ({
    draft,
    units: unitsOf(random, encoder, draft),
    id: 0,
    ended: false,
    body: '',
  }));
  const shown: string[] = [];
  // No table for answers, so that their status can be read.
  const bytes = [
    Buffer.from('PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n'),
    frame(frameTypes.settings, 0, 0, Buffer.from([0, 1, 0, 0, 0, 0])),
  ];
  const fatalAt = random.chance(0.15) ? random.below(6) : -1;
  let nextId = 1;
  let isOver = false;
  for (let step = 0; lanes.some(({ units }) => units.length > 0); step += 1) {
    if (step === fatalAt) {
      isOver = true;
      bytes.push(random.pick(FATAL)(random));
      shown.push(`fatal ${bytes.at(-1)?.subarray(0, 60).toString('hex')}`);
    } else if (random.chance(0.1)) bytes.push(random.pick(HARMLESS)(random));
    const lane = random.pick(lanes.filter(({ units }) => units.length > 0));
    if (lane.id === 0) {
      lane.id = nextId;
      nextId += 2 + (random.chance(0.1) ? 4 : 0);
    }
    const unit = lane.units.shift() as Unit;
    bytes.push(unit.bytes(lane.id));
    shown.push(`${lane.id} ${unit.shown}`);
    if (isOver) continue;
    lane.body += unit.data;
    lane.ended ||= unit.ends;
  }
  const streams = lanes.map(({ draft, id, ended, body }) => {
    const { tag, fields, trailers, after, sound } = draft;
    return { id, tag, fields, body, trailers, whole: ended, withdrawn: after === reset, sound };
  });
  const sound = !isOver && streams.every((stream) => stream.sound);
  return { pieces: cut(random, Buffer.concat(bytes).toString('latin1')), streams, sound, fatal: isOver, shown };
}
