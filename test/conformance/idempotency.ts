// What every IdempotentAnswers must do, told as tests. Names no backend.
import assert from 'node:assert/strict';
import { hash } from 'node:crypto';
import { test } from 'node:test';
import type { IdempotentAnswers, IdempotentCall } from '../../src/stores/contracts/idempotency.ts';

/** An opened, empty backend, and another replica of it (the same object where there is only one). */
export interface OpenedIdempotency extends AsyncDisposable {
  readonly store: IdempotentAnswers;
  readonly other: IdempotentAnswers;
}

const NOW = Date.UTC(2026, 5, 1);
const UNTIL = NOW + 1000;
const digest = (text: string) => hash('sha256', text, 'base64url');
const callOf = (key: string, request = 'make one'): IdempotentCall => ({
  keyDigest: digest(key),
  requestDigest: digest(request),
});
const ANSWER = { status: 201, etag: '7', text: '{"secret":"дверь"}\n' };

/** Contract and concurrency tiers. */
export function idempotencyConformance(backend: string, open: () => Promise<OpenedIdempotency>): void {
  test(`${backend} idempotency: begun once, running until it is finished, then answered, on every replica`, async () => {
    await using opened = await open();
    const call = callOf('a');
    assert.deepEqual(await opened.store.begin(call, NOW, UNTIL), { state: 'begun' });
    assert.deepEqual(await opened.other.begin(call, NOW, UNTIL), { state: 'running' });
    await opened.store.finish(call, ANSWER);
    assert.deepEqual(await opened.other.begin(call, NOW, UNTIL), { state: 'answered', answer: ANSWER });
    assert.deepEqual(await opened.store.begin(callOf('b'), NOW, UNTIL), { state: 'begun' });
  });

  test(`${backend} idempotency: an answer without a body keeps that it has none`, async () => {
    await using opened = await open();
    const answer = { status: 204, etag: undefined, text: undefined };
    await opened.store.begin(callOf('a'), NOW, UNTIL);
    await opened.store.finish(callOf('a'), answer);
    assert.deepEqual(await opened.store.begin(callOf('a'), NOW, UNTIL), { state: 'answered', answer });
  });

  test(`${backend} idempotency: the key of another call is refused, whether that one has ended or not`, async () => {
    await using opened = await open();
    await opened.store.begin(callOf('a'), NOW, UNTIL);
    assert.deepEqual(await opened.store.begin(callOf('a', 'else'), NOW, UNTIL), { state: 'other' });
    await opened.store.finish(callOf('a', 'else'), { ...ANSWER, text: 'wrong' });
    assert.deepEqual(await opened.store.begin(callOf('a'), NOW, UNTIL), { state: 'running' });
    await opened.store.finish(callOf('a'), ANSWER);
    assert.deepEqual(await opened.store.begin(callOf('a', 'else'), NOW, UNTIL), { state: 'other' });
  });

  test(`${backend} idempotency: an abandoned key is free; an answered one cannot be abandoned or answered anew`, async () => {
    await using opened = await open();
    await opened.store.begin(callOf('a'), NOW, UNTIL);
    await opened.store.abandon(callOf('a'));
    assert.deepEqual(await opened.store.begin(callOf('a', 'else'), NOW, UNTIL), { state: 'begun' });
    await opened.store.finish(callOf('a', 'else'), ANSWER);
    await opened.store.abandon(callOf('a', 'else'));
    await opened.store.finish(callOf('a', 'else'), { ...ANSWER, status: 500 });
    assert.deepEqual(await opened.store.begin(callOf('a', 'else'), NOW, UNTIL), { state: 'answered', answer: ANSWER });
  });

  test(`${backend} idempotency: expiry to the millisecond; a key that has expired stands for nothing`, async () => {
    await using opened = await open();
    await opened.store.begin(callOf('a'), NOW, UNTIL);
    await opened.store.finish(callOf('a'), ANSWER);
    assert.equal((await opened.store.begin(callOf('a'), UNTIL - 1, UNTIL)).state, 'answered');
    assert.deepEqual(await opened.store.begin(callOf('a', 'else'), UNTIL, UNTIL + 1000), { state: 'begun' });
    assert.deepEqual(await opened.store.begin(callOf('a', 'else'), UNTIL, UNTIL), { state: 'running' });
    await opened.store.begin(callOf('b'), NOW, UNTIL);
    assert.equal(await opened.store.expire(UNTIL - 1), 0);
    assert.equal(await opened.store.expire(UNTIL), 1);
    assert.equal(await opened.store.expire(UNTIL + 1000), 1);
  });

  test(`${backend} idempotency: of 50 at once one begins`, async () => {
    await using opened = await open();
    const stores = [opened.store, opened.other];
    const states = await Promise.all(
      Array.from({ length: 50 }, (_, at) => (stores[at % 2] as IdempotentAnswers).begin(callOf('a'), NOW, UNTIL)),
    );
    assert.equal(states.filter(({ state }) => state === 'begun').length, 1);
    assert.equal(states.filter(({ state }) => state === 'running').length, 49);
  });
}
