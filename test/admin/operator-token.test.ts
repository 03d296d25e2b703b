// The first operator token: how it looks, where it is kept, who may guess how often.
import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { operatorCheck } from '../../src/admin/operator-check.ts';
import { OperatorFailures } from '../../src/admin/operator-failures.ts';
import { isOperatorToken, mintOperatorToken, openOperators } from '../../src/admin/operator-token.ts';
import { ManualClock } from '../support/manual-clock.ts';

function folder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(join(tmpdir(), 'doorward-op-'));
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true, force: true }) };
}

test('a token has a prefix, 256 bits and a checksum, and one changed character breaks the form', () => {
  const token = mintOperatorToken();
  assert.match(token, /^dwa_[A-Za-z0-9_-]{43}_[A-Za-z0-9_-]{6}$/);
  assert.ok(isOperatorToken(token));
  const other = token[10] === 'A' ? 'B' : 'A';
  assert.ok(!isOperatorToken(`${token.slice(0, 10)}${other}${token.slice(11)}`));
  assert.notEqual(mintOperatorToken(), token);
});

test('the first start makes one token: clear text only in admin.token, a digest in operators.json, both mode 0600', () => {
  using state = folder();
  const dir = join(state.path, 'state');
  const operators = openOperators(dir, new ManualClock());
  const token = readFileSync(join(dir, 'admin.token'), 'utf8').trim();
  assert.ok(isOperatorToken(token));
  assert.doesNotMatch(readFileSync(join(dir, 'operators.json'), 'utf8'), new RegExp(token));
  for (const name of ['admin.token', 'operators.json']) assert.equal(statSync(join(dir, name)).mode & 0o777, 0o600);
  assert.equal(statSync(dir).mode & 0o777, 0o700);
  assert.deepEqual(operators.find(token)?.permissions, ['*']);
});

test('a later start keeps the token, also when admin.token was moved elsewhere', () => {
  using state = folder();
  openOperators(state.path, new ManualClock());
  const token = readFileSync(join(state.path, 'admin.token'), 'utf8').trim();
  rmSync(join(state.path, 'admin.token'));
  assert.equal(typeof openOperators(state.path, new ManualClock()).find(token), 'object');
});

test('a token that was put there beforehand is adopted, and one without checksum refuses the start', () => {
  using state = folder();
  const token = mintOperatorToken();
  writeFileSync(join(state.path, 'admin.token'), `${token}\n`);
  assert.equal(typeof openOperators(state.path, new ManualClock()).find(token), 'object');
  using other = folder();
  writeFileSync(join(other.path, 'admin.token'), 'changeme\n');
  assert.throws(() => openOperators(other.path, new ManualClock()), { kind: 'misconfigured' });
});

test('operators.json that is not a list of operators refuses the start instead of letting nobody or everybody in', () => {
  for (const text of [
    '',
    '{}',
    '{"version":1}',
    '{"version":1,"operators":[{"id":"x","sha256":"","permissions":["*"]}]}',
  ]) {
    using state = folder();
    writeFileSync(join(state.path, 'operators.json'), text);
    assert.throws(() => openOperators(state.path, new ManualClock()), { kind: 'misconfigured' }, text);
  }
});

test('ten wrong tokens in a minute stop an address, not another one, and not after the minute', async () => {
  using state = folder();
  const clock = new ManualClock();
  const limited: string[] = [];
  const nothing = () => undefined;
  const operators = operatorCheck({
    file: openOperators(state.path, clock),
    table: undefined,
    failures: new OperatorFailures(clock),
    clock,
    onLimited: (address) => void limited.push(address),
    onRegistered: nothing,
    onBreakGlass: nothing,
  });
  const token = readFileSync(join(state.path, 'admin.token'), 'utf8').trim();
  const check = (shown: string, address: string) => operators.check({ token: shown, certificate: [] }, address);
  for (let at = 0; at < 10; at += 1) assert.equal(await check(`no${at}`, 'a'), 'refused');
  assert.equal(await check(token, 'a'), 'limited');
  assert.equal(typeof (await check(token, 'b')), 'object');
  assert.deepEqual(limited, ['a']);
  clock.advance(60_000);
  assert.equal(typeof (await check(token, 'a')), 'object');
});
