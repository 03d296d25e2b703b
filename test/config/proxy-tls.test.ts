// proxy.tls: what cannot work, or would let anybody in, refuses the start with a sentence.
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { testAuthority } from '../support/certificates.ts';
import { parseText, problemsOf, SMALLEST } from '../support/config-text.ts';

const authority = testAuthority();
after(() => authority[Symbol.dispose]());
const app = authority.issue('app', 'DNS:app.test', 'serverAuth');
const other = authority.issue('other', 'DNS:other.test', 'serverAuth');
const nameless = authority.issue('nameless', 'email:a@b.test', 'serverAuth');
const value = (text: string) => ({ value: text });
const pair = { certificate: value(app.certificate), key: value(app.key) };
const text = (tls: object) => `${SMALLEST}proxy: ${JSON.stringify({ tls })}\n`;
const problems = (tls: object) => problemsOf(text(tls)).map((line) => line.replace(/^[^ ]+ /, ''));

test('a usable block loads', () => {
  const { config } = parseText(
    text({ certificates: [pair], client_ca: value(authority.certificate), client_certificate: 'required' }),
  );
  assert.equal(config.proxy.tls?.unknown_host, 'refuse');
});

test('a certificate and a key that do not belong together, or are none', () => {
  const expected = 'proxy.tls.certificates[1]: has a certificate and key that cannot be read or do not belong together';
  assert.deepEqual(problems({ certificates: [pair, { ...pair, key: value(other.key) }] }), [expected]);
  assert.deepEqual(problems({ certificates: [pair, { ...pair, certificate: value('nonsense') }] }), [expected]);
});

test('a certificate that names no host needs hosts', () => {
  const certificate = { certificate: value(nameless.certificate), key: value(nameless.key) };
  assert.deepEqual(problems({ certificates: [certificate] }), [
    'proxy.tls.certificates[0]: has a certificate without alternative names: list its hosts',
  ]);
  assert.ok(parseText(text({ certificates: [{ ...certificate, hosts: ['app.test'] }] })));
});

test('hosts are host names, and each has one certificate', () => {
  const second = { certificate: value(other.certificate), key: value(other.key), hosts: ['A.test', 'b..test'] };
  assert.deepEqual(problems({ certificates: [{ ...pair, hosts: ['a.test'] }, second] }), [
    'proxy.tls.certificates[1]: the host is listed twice',
    'proxy.tls.certificates[1].hosts[1]: needs a host name, or *. and one',
  ]);
});

test('attack 128: client authorities that cannot be read, or are none, refuse the start', () => {
  const broken = authority.certificate.replace(/[A-Za-z0-9+/]{20}\n/, '\n');
  for (const ca of ['nonsense', app.certificate, `${authority.certificate}${broken}`]) {
    assert.deepEqual(problems({ certificates: [pair], client_ca: value(ca), client_certificate: 'required' }), [
      'proxy.tls.client_ca: holds no PEM certificates that can be read',
    ]);
  }
});

test('attack 128: client certificates without authorities, and authorities without client certificates', () => {
  assert.deepEqual(problems({ certificates: [pair], client_certificate: 'optional' }), [
    'proxy.tls.client_certificate: needs client_ca: the authorities that may vouch for clients',
  ]);
  assert.deepEqual(problems({ certificates: [pair], client_ca: value(authority.certificate) }), [
    'proxy.tls.client_ca: has no effect with client_certificate: off; say optional or required',
  ]);
});

test('client_issuer is no issuer of tokens', () => {
  const issuer = parseText(SMALLEST).config.issuers;
  const [name, block] = Object.entries(issuer)[0]!;
  assert.deepEqual(problems({ certificates: [pair], client_issuer: block.issuer }), [
    `proxy.tls.client_issuer: is the issuer of issuers.${name}`,
  ]);
});

test('routes that take certificates need them on the port, and then no issuer', () => {
  const route = (credentials: string) =>
    `version: 1\nupstreams: {app: {url: "http://127.0.0.1:3000"}}\nroutes: {all: {match: {prefix: /}, credentials: ${credentials}}}\n`;
  assert.deepEqual(
    problemsOf(route('[certificate]')).map((line) => line.replace(/^[^ ]+ /, '')),
    ['routes.all.credentials[0]: needs proxy.tls.client_certificate: optional or required'],
  );
  const tls = { certificates: [pair], client_ca: value(authority.certificate), client_certificate: 'required' };
  const proxy = `proxy: ${JSON.stringify({ tls })}\n`;
  assert.ok(parseText(`${route('[certificate]')}${proxy}`));
  assert.match(problemsOf(`${route('[bearer, certificate]')}${proxy}`).join(), /needs an issuer for auth: required/);
});

test('no issuer block is named as client certificates are', () => {
  const tls = { certificates: [pair], client_ca: value(authority.certificate), client_certificate: 'required' };
  const named = text(tls).replace(/issuers: \{corp/, 'issuers: {client_certificate');
  assert.ok(named.includes('{client_certificate'));
  assert.match(problemsOf(named).join(), /issuers\.client_certificate: is what client certificates are known as/);
});
