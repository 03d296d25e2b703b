// Finding the client that a path names, its issuer, and judging what it is to become: what all operations on clients share.
import { z } from 'zod';
import { noticeOf } from '../clients/notices.ts';
import { propertyProblems } from '../clients/properties.ts';
import { SidecarError } from '../core/errors.ts';
import type { Client, ClientNotice, ClientProperties } from '../stores/contracts/clients.ts';
import type { AdminDependencies, AdminIssuer, ClientDesk } from './dependencies.ts';
import { FieldsError, notConfigured, notFound, preconditionFailed } from './endpoint.ts';

/** Tells apart clients of one id: name of an issuer block or its `iss`. */
export const issuerQuery = { issuer: z.string().min(1).max(1024).optional() };

/** The clients of this sidecar. Throws 501 without `postgres`. */
export function clientDeskOf({ clients }: AdminDependencies): ClientDesk {
  if (clients === undefined) throw notConfigured('clients need `postgres` in sidecar.yaml');
  return clients;
}

/** The issuer that `wanted` names, by block or `iss`; our only one when nothing is said. Throws FieldsError. */
export function issuerNamed({ tokens }: AdminDependencies, wanted: string | undefined): AdminIssuer {
  const all = tokens.issuers();
  const found =
    wanted === undefined
      ? all.filter(({ signer }) => signer !== undefined)
      : all.filter(({ name, issuer }) => name === wanted || issuer === wanted);
  if (found[0] !== undefined && new Set(found.map(({ issuer }) => issuer)).size === 1) return found[0];
  const names = all.map(({ name }) => name).join(', ');
  throw new FieldsError([{ path: 'issuer', problem: `needs to be one of ${names}` }]);
}

/** `iss` of the name or `iss`; what no block has is taken as it is, since a record may outlive its block. */
export function issOf({ tokens }: AdminDependencies, wanted: string): string {
  return tokens.issuers().find(({ name, issuer }) => name === wanted || issuer === wanted)?.issuer ?? wanted;
}

/** The client of a path. Throws 404, and 409 when several issuers have one of this id. */
export async function clientNamed(
  dependencies: AdminDependencies,
  id: string,
  issuer: string | undefined,
): Promise<Client> {
  const { store } = clientDeskOf(dependencies);
  if (issuer !== undefined) {
    const found = await store.get(issOf(dependencies, issuer), id);
    if (found === undefined) throw notFound('no such client');
    return found;
  }
  const [found, other] = await store.find(id);
  if (found === undefined) throw notFound('no such client');
  if (other === undefined) return found;
  throw new SidecarError('conflict', 'client_ambiguous', 'several issuers have a client of this id: say which issuer');
}

/** The one that the store answered. Throws 404 or 412. */
export function settled(outcome: Client | 'missing' | 'stale'): Client {
  if (outcome === 'missing') throw notFound('no such client');
  if (outcome === 'stale') throw preconditionFailed('the client was changed meanwhile');
  return outcome;
}

/** Version that If-Match names; a tag of another form matches nothing. */
export function expectedVersion(ifMatch: string | undefined): { readonly expectedVersion?: number } {
  if (ifMatch === undefined) return {};
  return { expectedVersion: /^\d{1,15}$/.test(ifMatch) ? Number(ifMatch) : -1 };
}

/** Throws FieldsError with everything that is wrong. */
export function requireSound(dependencies: AdminDependencies, properties: ClientProperties): void {
  const problems = propertyProblems(properties, clientDeskOf(dependencies).known());
  if (problems.length > 0) throw new FieldsError(problems);
}

/** Tells replicas of a client as it is now. */
export const announced = (desk: ClientDesk, client: Client) => desk.announce(noticeOf(client));

/** The notice that a client is gone. */
export function removalNotice(was: Client, nowMs: number): ClientNotice {
  return { ...noticeOf(was), version: was.version + 1, removed: true, changedAtMs: Math.max(nowMs, was.updatedAtMs) };
}
