import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { SidecarError } from '../../src/core/errors.ts';
import { parseStrictObject } from '../../src/core/strict-json.ts';
import { MAX_TOKEN_LENGTH, parseAccessToken } from '../../src/token/parse.ts';
import { segment } from '../support/minting.ts';

const token = (header: unknown, claims: unknown) => `${segment(header)}.${segment(claims)}.c2ln`;
const header = { alg: 'ES256' };

function reason(text: string): string {
  try {
    parseAccessToken(text);
    return 'ok';
  } catch (error) {
    assert.ok(error instanceof SidecarError);
    return error.reason;
  }
}

test('a good token comes apart into header, claims and segments', () => {
  const parsed = parseAccessToken(token(header, { sub: 'a', deep: { list: [1, { b: null }] } }));
  assert.deepEqual(parsed.header, header);
  assert.deepEqual(parsed.claims, { sub: 'a', deep: { list: [1, { b: null }] } });
  assert.equal(parsed.signingInput, `${parsed.headerSegment}.${parsed.payloadSegment}`);
  assert.equal(parsed.signatureSegment, 'c2ln');
});

test('attack 69: duplicate keys are refused at any depth, also when one of them is escaped', () => {
  for (const claims of [
    '{"sub":"a","sub":"b"}',
    '{"sub":"a","s\\u0075b":"b"}',
    '{"x":{"y":1,"y":1}}',
    '{"x":[{"y":1,"z":{},"y":2}]}',
    '{"x":{"a":1,"b":2},"x":{"c":1,"d":2,"e":3}}',
    '{"x":{"a":1,"a":2},"x":[]}',
    '{"":1,"":2}',
    '{"1":1,"1":2}',
  ]) {
    assert.equal(reason(token(header, claims)), 'token_malformed', claims);
    assert.equal(reason(token(claims, '{}')), 'token_malformed', `as header: ${claims}`);
  }
  assert.equal(reason(token(header, '{"x":{"y":"\\":,{[","z":1},"y":[":",":"]}')), 'ok');
});

test('attack 69: __proto__, BOM, invalid UTF-8, lone surrogates, trailing bytes and other top levels are refused', () => {
  for (const claims of [
    '{"__proto__":{"sub":"a"}}',
    '{"x":{"__proto__":1}}',
    '{"\\u005f_proto__":1}',
    '\ufeff{"sub":"a"}',
    Buffer.from([0x7b, 0x22, 0xff, 0x22, 0x3a, 0x31, 0x7d]),
    Buffer.from([0x7b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x3a, 0x31, 0x7d]),
    Buffer.from([0x7b, 0x22, 0xc0, 0xaf, 0x22, 0x3a, 0x31, 0x7d]),
    '{"sub":"\\ud800"}',
    '{"\\udfff":1}',
    '{"sub":["\\ud83d"]}',
    '{"sub":"a"}x',
    '{"sub":"a"}{}',
    '{"sub":"a"}\u0000',
    '{"sub":"a",}',
    '{sub:1}',
    "{'sub':1}",
    '{"sub":NaN}',
    '{"sub":01}',
    '{"sub":"a\nb"}',
    '[]',
    'null',
    '"x"',
    '1',
    ' ',
    '{"sub":"a',
    '{"sub":"a\\',
  ]) {
    assert.equal(reason(token(header, claims)), 'token_malformed', String(claims));
  }
  assert.equal(reason(token(header, '{"sub":"\\ud83d\\ude00"}')), 'ok');
  assert.equal(reason(token(header, ' {"sub":"a"}\n')), 'ok');
});

test('nesting beyond 32 is refused, 32 is not', () => {
  const nested = (depth: number) => `{"x":${'['.repeat(depth - 1)}${']'.repeat(depth - 1)}}`;
  assert.equal(reason(token(header, nested(32))), 'ok');
  assert.equal(reason(token(header, nested(33))), 'token_malformed');
  assert.equal(reason(token(header, `{"x":"${'['.repeat(60)}"}`)), 'ok');
});

test('attack 70: JWE, JSON serialisations, padding, white space, wrong number of parts, empty parts are refused', () => {
  const good = token(header, { sub: 'a' });
  const [h, p, s] = good.split('.') as [string, string, string];
  for (const text of [
    '',
    '.',
    '..',
    '...',
    h,
    `${h}.${p}`,
    `${h}.${p}.`,
    `.${p}.${s}`,
    `${h}..${s}`,
    `${good}.`,
    `.${good}`,
    `${h}.${p}.${s}.${s}`,
    `${h}.${p}.${s}.${s}.${s}`,
    `${h}=.${p}.${s}`,
    `${h}.${p}==.${s}`,
    `${good}=`,
    ` ${good}`,
    `${good} `,
    `${good}\n`,
    `${h}.\t${p}.${s}`,
    `${h}.${p}.c2l`.replace(/l$/, 'm'),
    `${h}.${p}.c2l+`,
    `${h}.${p}.c2l/`,
    `${h}.${p}.c2lé`,
    JSON.stringify({ payload: p, signatures: [{ protected: h, signature: s }] }),
    token(header, good),
  ]) {
    assert.equal(reason(text), 'token_malformed', text);
  }
});

test('attack 70: a token above 16 KiB is refused before anything is decoded', () => {
  const big = `${segment(header)}.${'A'.repeat(MAX_TOKEN_LENGTH)}.c2ln`;
  assert.equal(reason(big), 'token_too_large');
  const start = performance.now();
  assert.equal(reason('a.'.repeat(512 * 1024)), 'token_too_large');
  assert.ok(performance.now() - start < 2000);
});

test('property: parsing arbitrary text and bytes throws nothing but SidecarError', () => {
  const bytes = fc.uint8Array({ maxLength: 200 }).map((given) => Buffer.from(given));
  fc.assert(
    fc.property(fc.oneof(fc.string({ unit: 'binary' }), fc.string()), (text) => {
      assert.notEqual(reason(text), 'ok');
    }),
  );
  fc.assert(
    fc.property(bytes, bytes, bytes, (a, b, c) => {
      assert.match(reason(`${segment(a)}.${segment(b)}.${segment(c)}`), /^(ok|token_malformed)$/);
    }),
  );
  fc.assert(
    fc.property(fc.string(), fc.json(), (a, b) => {
      assert.match(reason(`${segment(a)}.${segment(b)}.c2ln`), /^(ok|token_malformed)$/);
    }),
  );
});

test('attack 69: an escaped member name is read right, whatever member names other tokens have shown before', () => {
  // nodejs/node#63785: JSON.parse itself reads the second as {"a", "\\u0"} once it has read the first.
  const poison = (name: string) => parseStrictObject(Buffer.from(`{"a":1,${JSON.stringify(name)}:0}`));
  for (const name of ['\\', '\\u', '\\u0', '\\u00', 'https:\\/\\/x', '"', '\n'])
    assert.equal(poison(name), undefined, name);
  JSON.parse('{"a":1,"\\\\u0":0}');
  JSON.parse('{"a":1,"https:\\\\/\\\\/x":0}');
  assert.deepEqual(parseStrictObject(Buffer.from('{"a":1,"\\u0073ub":2}')), { a: 1, sub: 2 });
  assert.deepEqual(parseStrictObject(Buffer.from('{"a":1,"https:\\/\\/x.y\\/r" : ["\\/"]}')), {
    a: 1,
    'https://x.y/r': ['/'],
  });
  assert.deepEqual(parseStrictObject(Buffer.from('{"a":"\\\\","b":"\\":1","\\u00e9":3}')), { a: '\\', b: '":1', é: 3 });
  for (const text of ['{"\\x":1}', '{"\\u12":1}', '{"\\u0061"::1}', '{"\\u0061":1:2}', ':"\\u0061"', '{"a\\":1}']) {
    assert.equal(parseStrictObject(Buffer.from(text)), undefined, text);
  }
});

test('property: every JSON object that JSON.stringify can write is read back as it was', () => {
  const value = fc.jsonValue({ maxDepth: 6 });
  const object = fc.dictionary(fc.string({ unit: 'grapheme' }), value);
  fc.assert(
    fc.property(object, (given) => {
      const text = JSON.stringify(given);
      const unfit = (name: string) => name === '__proto__' || /["\\\x00-\x1f]/.test(name);
      let refused = false;
      const plain = (member: unknown): void => {
        if (typeof member === 'string') refused ||= !member.isWellFormed();
        if (typeof member !== 'object' || member === null) return;
        for (const [name, inner] of Object.entries(member)) {
          refused ||= !Array.isArray(member) && (unfit(name) || !name.isWellFormed());
          plain(inner);
        }
      };
      plain(given);
      const read = parseStrictObject(Buffer.from(text));
      if (refused) assert.equal(read, undefined);
      else assert.equal(JSON.stringify(read), text);
    }),
  );
});

test('property: doubling any member of an object makes it refused', () => {
  const object = fc.dictionary(fc.stringMatching(/^[a-z"\\:{]{1,4}$/), fc.jsonValue({ maxDepth: 3 }), { minKeys: 1 });
  fc.assert(
    fc.property(object, fc.jsonValue({ maxDepth: 3 }), fc.nat(), (given, other, pick) => {
      const text = JSON.stringify(given);
      if (text.includes('__proto__')) return;
      const keys = Object.keys(given);
      const again = `${JSON.stringify(keys[pick % keys.length])}:${JSON.stringify(other)}`;
      assert.equal(parseStrictObject(Buffer.from(`{${again},${text.slice(1)}`)), undefined);
      assert.equal(parseStrictObject(Buffer.from(`{"in":[{${again},${text.slice(1)}]}`)), undefined);
    }),
  );
});
