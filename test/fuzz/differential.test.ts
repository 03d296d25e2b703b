// The differential run: generated connections through the real program to real servers. Sidecar and upstream must agree how
// many requests there were and which method, path, host and body each had; identity headers are exactly ours; no answer goes
// to another request. `npm run fuzz -- differential --minutes N` runs longer, with new seeds.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { relaxations } from '../../src/config/schema.ts';
import { runHttp2Differential } from './differential/http2-run.ts';
import { runDifferential } from './differential/run.ts';
import { upstreams } from './differential/upstreams.ts';

const counts: Readonly<Record<string, number>> = {
  raw: 1200,
  node: 600,
  nginx: 400,
  haproxy: 300,
  apache: 300,
  python: 150,
  http2: 150,
};

for (const [name, count] of Object.entries(counts)) {
  for (const relax of [[], relaxations]) {
    test(`${count} generated connections to ${name}, ${relax.length === 0 ? 'strict' : 'relaxed'} paths: sidecar and upstream agree on all`, async () => {
      await using upstream = await (upstreams[name] as (typeof upstreams)[string])();
      const seed = relax.length === 0 ? 0 : 1_000_000;
      const { findings, requests, served, scripts } = await runDifferential({ upstream, seed, count, relax });
      assert.deepEqual(findings, []);
      assert.equal(scripts, count);
      // Who answers before a body has come closes on the rest of it: how many that costs depends on who is faster.
      assert.ok(served > requests / (upstream.answersEarly ? 10 : 5), `${served} of ${requests} requests were served`);
    });
  }
}

for (const name of ['raw', 'http2']) {
  for (const relax of [[], relaxations]) {
    test(`250 generated HTTP/2 connections to ${name}, ${relax.length === 0 ? 'strict' : 'relaxed'} paths: sidecar and upstream agree on all`, async () => {
      await using upstream = await (upstreams[name] as (typeof upstreams)[string])();
      const seed = relax.length === 0 ? 0 : 1_000_000;
      const { findings, requests, served, scripts } = await runHttp2Differential({ upstream, seed, count: 250, relax });
      assert.deepEqual(findings, []);
      assert.equal(scripts, 250);
      assert.ok(served > requests / 5, `${served} of ${requests} requests were served`);
    });
  }
}

const upTo = (number: number) => {
  const post = `POST /public HTTP/1.1\r\nHost: app\r\nX-Tag: m${number}-0\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n0\r\nt: u\r\n\r\n`;
  const get = `GET /files?q HTTP/1.1\r\nHost: app\r\nX-Tag: m${number}-1\r\n\r\n`;
  const put = `PUT /a HTTP/1.1\r\nHost: app\r\nX-Tag: m${number}-2\r\nContent-Length: 4\r\n\r\nGET `;
  const refused = `GET /admin HTTP/1.1\r\nHost: app\r\nX-Tag: m${number}-3\r\n\r\n`;
  return post + get + put + refused;
};

test('wherever between two bytes the network cuts four pipelined requests, they are the same four requests', async () => {
  await using upstream = await (upstreams.raw as (typeof upstreams)[string])();
  const count = upTo(1000).length;
  const make = (number: number) => {
    const bytes = upTo(number);
    return { bytes, pieces: [bytes.slice(0, number - 1000), bytes.slice(number - 1000)], sound: true };
  };
  const { findings, served } = await runDifferential({ upstream, seed: 1000, count, make });
  assert.deepEqual(findings, []);
  assert.equal(served, 3 * count);
});
