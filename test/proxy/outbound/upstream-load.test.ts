// Endpoints that die and come back under steady load: no request is answered twice or seen twice, and what was not sent yet is
// not lost.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { eventually } from '../../rows/eventually.ts';
import { ask, before, type Member, several, states, urls } from './members.ts';

const CLIENTS = 24;
const ROUNDS = 6;

/** How often each request reached an endpoint. */
function sightings(members: readonly Member[]): Map<string, number> {
  const seen = new Map<string, number>();
  for (const line of members.flatMap((each) => each.seen)) {
    const id = line.split(' ')[1] as string;
    seen.set(id, (seen.get(id) ?? 0) + 1);
  }
  return seen;
}

test('attack 55: endpoints killed and restarted under load: no request is doubled, none lost that had not been sent', async () => {
  await using members = await several(3);
  await using sidecar = await before(urls(members), {
    breaker: { failures: 2, probe: '50ms' },
    ejection: { for: '300ms', longest: '300ms' },
  });
  let running = true;
  const served: string[] = [];
  const failed: string[] = [];
  const client = async (name: number) => {
    for (let n = 0; running; n += 1) {
      const id = `/${name}-${n}`;
      const { status, from } = await ask(sidecar, id, { method: 'POST', body: id });
      if (status === 200) served.push(id);
      else failed.push(from);
    }
  };
  const clients = Array.from({ length: CLIENTS }, (_, name) => client(name));
  for (let round = 0; round < ROUNDS; round += 1) {
    const victim = members[round % members.length] as Member;
    const soFar = served.length;
    await eventually(() => served.length > soFar + 100, 20_000);
    victim.kill();
    await sleep(200);
    await victim.start();
    await eventually(async () => Object.values(await states(sidecar)).every((state) => state === 'up'), 20_000);
  }
  running = false;
  await Promise.all(clients);
  const seen = sightings(members);
  assert.deepEqual(
    [...seen.values()].filter((times) => times !== 1),
    [],
  );
  assert.deepEqual(
    served.filter((id) => !seen.has(id)),
    [],
  );
  // What was under way at a kill is lost with its endpoint: at most what each of the clients had out.
  assert.deepEqual(
    [...new Set(failed)].filter((reason) => reason !== 'upstream_reset'),
    [],
  );
  assert.ok(failed.length <= ROUNDS * CLIENTS, `${failed.length} failed`);
  assert.ok(served.length > ROUNDS * 100);
  assert.ok(members.every((each) => each.seen.length > 0));
});

test('an endpoint that flaps under load costs others nothing: reads are served all the time', async () => {
  await using members = await several(2);
  const [flapping] = members;
  await using sidecar = await before(urls(members), {
    ejection: { failures: 2, for: '500ms', statuses: [503] },
    health: { path: '/healthz', interval: '250ms', timeout: '200ms', healthy: 1, unhealthy: 1 },
  });
  const answers: number[] = [];
  for (let round = 0; round < 6; round += 1) {
    flapping.behaviour = round % 2 === 0 ? 503 : 'answer';
    flapping.health = round % 2 === 0 ? 500 : 200;
    for (let n = 0; n < 20; n += 1) answers.push((await ask(sidecar)).status);
    await sleep(300);
  }
  const bad = answers.filter((status) => status !== 200);
  assert.ok(bad.length <= 6, `${bad.length} of ${answers.length}`);
  assert.deepEqual(
    [...new Set(bad)].filter((status) => status !== 503),
    [],
  );
});
