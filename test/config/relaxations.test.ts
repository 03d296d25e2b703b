// Each setting that SECURITY.md names as weakening on purpose is told of, with its place.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { formatProblem } from '../../src/config/problem.ts';
import { relaxations } from '../../src/config/relaxations.ts';
import { parseText, SMALLEST } from '../support/config-text.ts';

const NOW_MS = Date.UTC(2026, 10, 21);
const relaxedIn = (text: string) => relaxations(parseText(text), NOW_MS).map(formatProblem);

test('a strict configuration relaxes nothing', () => {
  assert.deepEqual(relaxedIn(`${SMALLEST}limits: {per_ip: {key: ip, rate: 20/1m}}\n`), []);
});

test('every relaxation is told of, with its place', () => {
  const text = `version: 1
proxy: {error_detail: reason}
upstreams: {app: {url: "http://127.0.0.1:3000"}}
issuers: {corp: {issuer: "https://id.example.com/", audience: [api]}}
limits:
  one: {key: ip, rate: 20/1m, on_store_down: allow}
  two: {key: ip, rate: 20/1m, mode: shadow, shadow_until: 2026-12-31}
  old: {key: ip, rate: 20/1m, mode: shadow, shadow_until: 2026-11-21}
routes:
  all: {match: {prefix: /}, mode: shadow}
  open: {match: {path: /open}, auth: none, relax: [encoded_slash, double_slash]}
revocation: {on_store_down: allow}
`;
  assert.deepEqual(relaxedIn(text), [
    'sidecar.yaml:2:23 proxy.error_detail: reason: callers are told why they were refused',
    'sidecar.yaml:6:46 limits.one.on_store_down: allow: limits nobody while Redis is away',
    'sidecar.yaml:11:38 routes.open.auth: none: needs no token',
    'sidecar.yaml:11:51 routes.open.relax: encoded_slash, double_slash: paths that servers read differently',
    'sidecar.yaml:10:35 routes.all.mode: shadow: refuses nobody',
    'sidecar.yaml:7:37 limits.two.mode: shadow until 2026-12-31: refuses nobody',
    'sidecar.yaml:12:29 revocation.on_store_down: allow: revoked tokens pass while Redis is away',
  ]);
});
