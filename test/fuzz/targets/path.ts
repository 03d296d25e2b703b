// The canonical request target: what is accepted is byte for byte what was sent, is read the same again, and every reading that
// real software is known to have is either the same or among those whose policy must be the same.
import assert from 'node:assert/strict';
import { hostName, otherReadings, readTarget } from '../../../src/http/canonical.ts';
import type { Target } from '../engine.ts';

/** How others read a path: WHATWG URL, decoding before splitting, decoding twice, parameters cut, slashes merged, folded. */
const readers: Readonly<Record<string, (path: string) => string | undefined>> = {
  url: (path) => new URL(`http://h${path}`).pathname,
  decoded: (path) => decode(path),
  'decoded, then a URL': (path) => (/^\/(?!\/)/.test(decode(path)) ? decode(path).replace(/[?#].*$/s, '') : undefined),
  twice: (path) => decode(decode(path)),
  'without parameters': (path) => path.replace(/;[^/]*/g, ''),
  'parameters after decoding': (path) => decode(path).replace(/;[^/]*/g, ''),
  merged: (path) => path.replace(/\/+/g, '/'),
  'decoded and merged': (path) => decode(path).replace(/\/+/g, '/'),
  folded: (path) => path.toLowerCase(),
  'decoded and folded': (path) => decode(path).toLowerCase(),
};

const decode = (text: string) =>
  text.replace(/%([0-9A-Fa-f]{2})/g, (_, hex) => String.fromCharCode(Number.parseInt(hex, 16)));
/** Readings are compared after what all of them do: servers match without regard to trailing dots and blanks, and to case. */
const settle = (path: string) =>
  path
    .replace(/\/+/g, '/')
    .toLowerCase()
    .replace(/[. ]+(?=\/|$)/g, '') || '/';

/** No reading of an accepted target escapes. */
export const target: Target = {
  name: 'path',
  files: /src\/http\/canonical/,
  seeds: [
    '/',
    '/a/b?c=d',
    'http://app/x',
    '/public/%2e%2e/admin',
    '/a%2fb',
    '/a//b;c=d/e',
    '/%2525',
    '/a.',
    '*',
    '/a#b',
    '/%E9',
    'app:80',
    '/%3f%23x',
  ],
  words: [
    '%2e',
    '%2E',
    '..',
    '/.',
    '//',
    '%2f',
    '%5c',
    '\\',
    '%25',
    '%00',
    '%c0%af',
    ';',
    '%3b',
    '?',
    '#',
    '%3f',
    '%23',
    'http://',
    '@',
    ':',
    '%61',
    '%20',
    '.',
    'ADMIN',
    '%e0%80%af',
    '%',
    '%2',
  ],
  maxBytes: 80,
  check(input) {
    const text = input.toString('latin1');
    const host = hostName(text);
    if (host !== undefined) assert.match(host, /^(?:[a-z0-9_][a-z0-9_.-]*|\[[0-9a-f:.]+\])$/);
    const read = readTarget(text);
    if (read === undefined) return;
    const { path, query, authority } = read;
    const origin = authority === undefined ? '' : text.slice(0, text.indexOf('//') + 2 + authority.length);
    const sent = text.slice(origin.length);
    assert.equal(path + query, sent.startsWith('/') ? sent : `/${sent}`, 'byte for byte');
    assert.deepEqual(readTarget(path + query), { ...read, authority: undefined }, 'the same again');
    assert.doesNotMatch(`${path}${query}`, /[\x00-\x20\x7f#]/);
    assert.equal(new URL(`http://h${path}`).pathname.split('/').includes('..'), false);
    if (!read.ambiguous) {
      for (const [name, reader] of Object.entries(readers)) {
        const seen = reader(path);
        if (seen !== undefined) assert.equal(settle(seen), settle(path), name);
      }
      return;
    }
    const known = otherReadings(path);
    if (known === undefined) return;
    const settled = new Set([path, ...known].map(settle));
    for (const [name, reader] of Object.entries(readers)) {
      const seen = reader(path);
      if (seen === undefined) continue;
      // WHATWG encodes what we let pass raw; compared decoded.
      assert.ok(
        settled.has(settle(seen)) || settled.has(settle(decode(seen))),
        `${name}: ${seen} is not among ${[...settled]}`,
      );
      assert.equal(decode(decode(seen)).split(/[/\\]/).includes('..'), false, name);
    }
  },
};
