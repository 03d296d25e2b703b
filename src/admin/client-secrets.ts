// Secrets of clients for operators: a second one beside the first, so that a client can change over, and the end of the old.
import { z } from 'zod';
import { newClientSecret } from '../clients/secrets.ts';
import { SidecarError } from '../core/errors.ts';
import { parseDuration } from '../core/units.ts';
import { MAX_SECRETS } from '../stores/contracts/clients.ts';
import { announced, clientDeskOf, clientNamed, issuerQuery, settled } from './client-lookup.ts';
import { lifetime, secretShape, shownSecret } from './client-shapes.ts';
import { endpoint, notFound } from './endpoint.ts';

/** POST /v1/clients/{id}/secrets: 201 with the secret, which is shown nowhere else. */
export const addClientSecret = endpoint({
  method: 'POST',
  path: '/v1/clients/{id}/secrets',
  permission: 'clients:write',
  reach: 'tenant',
  event: 'client.secret_added',
  query: z.strictObject(issuerQuery),
  body: z.strictObject({ expires: lifetime.optional() }),
  answers: { 201: secretShape.extend({ client_secret: z.string() }) },
  refusals: ['not_configured', 'client_ambiguous', 'client_secrets_full', 'client_without_secrets'],
  summary: `Add a secret, of which ${MAX_SECRETS} may be live; it is shown once.`,
  handler: async (dependencies, { path, query, body }) => {
    const desk = clientDeskOf(dependencies);
    const { issuer, clientId, authMethod, tenant } = await clientNamed(dependencies, path.id as string, query.issuer);
    if (!authMethod.startsWith('client_secret_')) {
      throw new SidecarError('conflict', 'client_without_secrets', 'the client authenticates without a secret');
    }
    const nowMs = dependencies.clock.nowMs();
    const expiresAtMs = body.expires === undefined ? undefined : nowMs + (parseDuration(body.expires) as number);
    const { secret, kept } = newClientSecret(nowMs, expiresAtMs);
    const outcome = await desk.store.addSecret(issuer, clientId, kept, nowMs);
    if (outcome === 'full') {
      const message = `${MAX_SECRETS} secrets are live: remove one first`;
      throw new SidecarError('conflict', 'client_secrets_full', message);
    }
    await announced(desk, settled(outcome));
    return {
      status: 201,
      body: { ...shownSecret(kept), client_secret: secret },
      audit: { client: clientId, issuer, tenant, secret_id: kept.id, expires: body.expires },
    };
  },
});

/** DELETE /v1/clients/{id}/secrets/{secret}: 204; it authenticates nobody any more. */
export const removeClientSecret = endpoint({
  method: 'DELETE',
  path: '/v1/clients/{id}/secrets/{secret}',
  permission: 'clients:write',
  reach: 'tenant',
  event: 'client.secret_removed',
  query: z.strictObject(issuerQuery),
  answers: { 204: null },
  refusals: ['not_configured', 'client_ambiguous'],
  summary: 'Remove a secret by its id.',
  handler: async (dependencies, { path, query }) => {
    const desk = clientDeskOf(dependencies);
    const { issuer, clientId, tenant } = await clientNamed(dependencies, path.id as string, query.issuer);
    const secretId = path.secret as string;
    const outcome = await desk.store.removeSecret(issuer, clientId, secretId, dependencies.clock.nowMs());
    if (outcome === 'missing') throw notFound('no such secret');
    await announced(desk, outcome);
    return { status: 204, audit: { client: clientId, issuer, tenant, secret_id: secretId } };
  },
});
