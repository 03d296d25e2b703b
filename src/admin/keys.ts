// Signing keys for operators: list, rotate, activate, retire, ban. What follows when is keys/signing-schedule.ts.
import { z } from 'zod';
import type { AdminDependencies } from './dependencies.ts';
import { type AdminAnswer, endpoint, notConfigured } from './endpoint.ts';
import type { AdminSigningKey, SigningKeyDesk, SigningTimeline } from './key-desks.ts';
import { pageOf, pageQuery } from './pages.ts';
import { applied, count, pageShape, timeOrNull } from './shapes.ts';

function deskOf({ signingKeys }: AdminDependencies): SigningKeyDesk {
  if (signingKeys === undefined) throw notConfigured('signing keys that rotate need `postgres` in sidecar.yaml');
  return signingKeys;
}

const timeOf = (ms: number | undefined) => (ms === undefined ? null : new Date(ms).toISOString());

/** A key as operators read it; nothing of its private part is known here. */
function shown(key: AdminSigningKey): Record<string, unknown> {
  return {
    kid: key.kid,
    issuer: key.issuerName,
    algorithm: key.algorithm,
    state: key.state,
    created_at: timeOf(key.createdAtMs),
    signs_from: timeOf(key.activateAtMs),
    retires_at: timeOf(key.retireAtMs),
    ended_at: timeOf(key.endedAtMs),
  };
}

const shownKey = z.strictObject({
  kid: z.string(),
  issuer: z.string(),
  algorithm: z.enum(['ES256', 'RS256', 'EdDSA']),
  state: z.enum(['pending', 'active', 'retiring', 'retired', 'banned']),
  created_at: timeOrNull,
  signs_from: timeOrNull,
  retires_at: timeOrNull,
  ended_at: timeOrNull,
});
/** The keys of one issuer, and when the schedule will next do something by itself. */
const timelineShape = z.strictObject({ issuer: z.string(), keys: z.array(shownKey), next_step_at: timeOrNull });
const CHANGED = { answers: { 200: timelineShape }, refusals: ['key_state_refused', 'not_configured'] } as const;

const timeline = ({ issuerName, keys, nextStepAtMs }: SigningTimeline) => ({
  issuer: issuerName,
  keys: keys.map(shown),
  next_step_at: timeOf(nextStepAtMs),
});

function changed(kid: string | undefined, result: SigningTimeline, status = 200): AdminAnswer {
  const states = result.keys.map((key) => `${key.kid} ${key.state}`);
  return { status, body: timeline(result), audit: { issuer: result.issuerName, ...(kid && { kid }), keys: states } };
}

/** GET /v1/keys: L22: every key with its state and times, and how many sign. */
export const listSigningKeys = endpoint({
  method: 'GET',
  path: '/v1/keys',
  permission: 'keys:read',
  query: z.strictObject(pageQuery),
  answers: { 200: pageShape(shownKey).extend({ total_keys: count, active_keys: count }) },
  refusals: ['not_configured'],
  summary: 'Signing keys of our own issuers, with states and times, newest first, by cursor pages.',
  handler: async (dependencies, { query }) => {
    const keys = await deskOf(dependencies).list();
    const active = keys.filter(({ state }) => state === 'active').length;
    const { items, ...next } = pageOf(keys, ({ createdAtMs, kid }) => ({ atMs: createdAtMs, id: kid }), query);
    const body = { items: items.map(shown), ...next, total_keys: keys.length, active_keys: active };
    return { status: 200, body };
  },
});

/** POST /v1/keys: 201 with the timeline of the rotation. */
export const rotateSigningKey = endpoint({
  method: 'POST',
  path: '/v1/keys',
  permission: 'keys:write',
  event: 'key.added',
  body: z.strictObject({ issuer: z.string().min(1).max(256).optional() }),
  answers: { 201: timelineShape },
  refusals: ['key_state_refused', 'not_configured', 'resource_not_found'],
  summary: 'Make a signing key: published at once, signing once everybody can know it.',
  handler: async (dependencies, { body }) => {
    const result = await deskOf(dependencies).rotate(body.issuer);
    return changed(result.keys.find(({ state }) => state === 'pending')?.kid, result, 201);
  },
});

/** POST /v1/keys/{kid}/activate. */
export const activateSigningKey = endpoint({
  method: 'POST',
  path: '/v1/keys/{kid}/activate',
  permission: 'keys:write',
  event: 'key.activated',
  ...CHANGED,
  summary: 'Let a pending key sign at once.',
  handler: async (dependencies, { path }) => changed(path.kid, await deskOf(dependencies).activate(path.kid as string)),
});

/** POST /v1/keys/{kid}/retire. */
export const retireSigningKey = endpoint({
  method: 'POST',
  path: '/v1/keys/{kid}/retire',
  permission: 'keys:write',
  event: 'key.retired',
  ...CHANGED,
  summary: 'Let a key step down (active), or go at once (pending, retiring).',
  handler: async (dependencies, { path }) => changed(path.kid, await deskOf(dependencies).retire(path.kid as string)),
});

/** POST /v1/keys/{kid}/ban: what the key signed is refused on every replica; `applied` as for revocations. */
export const banSigningKey = endpoint({
  method: 'POST',
  path: '/v1/keys/{kid}/ban',
  permission: 'keys:write',
  event: 'key.banned',
  ...CHANGED,
  answers: { 200: timelineShape.extend({ applied }) },
  summary: 'Ban a leaked key everywhere at once, and replace it.',
  handler: async (dependencies, { path }) => {
    const result = await deskOf(dependencies).ban(path.kid as string);
    const answer = changed(path.kid, result);
    return { ...answer, body: { ...timeline(result), applied: result.applied } };
  },
});
