import assert from 'node:assert/strict';
import { test } from 'node:test';
import { matchesRedirectUri, redirectUriProblem } from '../../src/clients/redirect-uri.ts';

const good = [
  'https://app.test/cb',
  'https://app.test',
  'https://app.test/',
  'https://app.test:8443/cb?a=1&b=%20',
  'http://127.0.0.1/cb',
  'http://127.0.0.1:5000/cb',
  'http://[::1]:5000/cb',
  'http://localhost:3000/cb',
];
const bad: Readonly<Record<string, readonly string[]>> = {
  'a fragment': ['https://app.test/cb#', 'https://app.test/#x', 'com.test.app:/cb#x'],
  'a wildcard': ['https://*.app.test/cb', 'https://app.test/*'],
  'a scheme that runs or shows what stands in it': [
    'javascript:alert(1)',
    'JaVaScRiPt:alert(1)',
    'data:text/html,x',
    'vbscript:x',
    'file:///etc/passwd',
    'blob:https://app.test/x',
    'about:blank',
  ],
  'http to somebody else': ['http://app.test/cb', 'http://127.0.0.1.app.test/cb', 'http://localhost.app.test/'],
  'credentials or what looks like them': [
    'https://app.test@evil.test/cb',
    'https://app.test:pw@evil.test/cb',
    'https://@app.test/',
  ],
  'two readings': [
    'https://app.test\\@evil.test/cb',
    'https:app.test/cb',
    'https:///app.test/cb',
    'https://app.test/a/../cb',
    'https://app.test/./cb',
    'https://app.test:443/cb',
    'HTTPS://app.test/cb',
    'https://APP.test/cb',
    'https://0x7f.1/cb',
    'https://app.test/c b',
    'https://app.test/cb\r\nx',
    'https://app.test/\u0000',
    'https://äpp.test/cb',
    ' https://app.test/cb',
  ],
  'no absolute URI': ['', '/cb', '//app.test/cb', 'app.test/cb', 'urn:ietf:wg:oauth:2.0:oob'],
};

test('attack 124: redirect URIs: https, or http to loopback', () => {
  for (const uri of good) assert.equal(redirectUriProblem(uri, false), undefined, uri);
});

for (const [what, uris] of Object.entries(bad)) {
  test(`attack 124: a redirect URI with ${what} is refused, for public clients too`, () => {
    for (const uri of uris) {
      assert.ok(redirectUriProblem(uri, false) !== undefined, uri);
      assert.ok(redirectUriProblem(uri, true) !== undefined, uri);
    }
  });
}

test('a scheme of a native application is a reversed domain name, for public clients only', () => {
  assert.equal(redirectUriProblem('com.example.app:/cb', true), undefined);
  assert.ok(redirectUriProblem('com.example.app:/cb', false));
  assert.ok(redirectUriProblem('myapp:/cb', true));
});

test('problems never quote the URI', () => {
  for (const uri of Object.values(bad)
    .flat()
    .filter((text) => text.length > 4)) {
    assert.ok(!redirectUriProblem(uri, false)?.includes(uri), uri);
  }
});

test('only the very same URI matches', () => {
  const client = { type: 'confidential', redirectUris: ['https://app.test/cb'] } as const;
  assert.ok(matchesRedirectUri(client, 'https://app.test/cb'));
  for (const other of ['https://app.test/cb/', 'https://app.test/cb?', 'https://app.test/CB', 'https://app.test/', ''])
    assert.ok(!matchesRedirectUri(client, other), other);
});

test('RFC 8252 7.3: a public client may use another port of the same loopback address, nothing else', () => {
  const client = { type: 'public', redirectUris: ['http://127.0.0.1/cb', 'http://localhost:3000/cb'] } as const;
  assert.ok(matchesRedirectUri(client, 'http://127.0.0.1:49152/cb'));
  for (const other of [
    'http://127.0.0.1:49152/other',
    'http://127.0.0.2:49152/cb',
    'http://[::1]:49152/cb',
    'http://localhost:3001/cb',
    'http://127.0.0.1:1@evil.test/cb',
    'http://127.0.0.1.evil.test:1/cb',
    'https://127.0.0.1:49152/cb',
    'http://127.0.0.1:99999/cb',
  ])
    assert.ok(!matchesRedirectUri(client, other), other);
  assert.ok(!matchesRedirectUri({ ...client, type: 'confidential' }, 'http://127.0.0.1:49152/cb'));
});
