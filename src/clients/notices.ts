// What replicas are told of a client, as a document and back. A document is believed only because it is signed; that and its
// order are keys/publications.ts's.

import { isJsonObject } from '../core/strict-json.ts';
import type { Rate } from '../core/units.ts';
import type { Client, ClientNotice } from '../stores/contracts/clients.ts';

/** Name of the document of a client; JSON, so that no issuer and id run into another pair's. */
export const noticeName = ({ issuer, clientId }: Pick<ClientNotice, 'issuer' | 'clientId'>): string =>
  JSON.stringify([issuer, clientId]);

/** The notice of a client as it stands. */
export function noticeOf({ issuer, clientId, version, tier, limits, disabled, updatedAtMs }: Client): ClientNotice {
  return { issuer, clientId, version, tier, limits, disabled, removed: false, changedAtMs: updatedAtMs };
}

/** The notice as JSON; no name, scope or secret stands in it. */
export function documentOf(notice: ClientNotice): Readonly<Record<string, unknown>> {
  const { issuer, clientId, version, tier, limits, disabled, removed, changedAtMs } = notice;
  return {
    issuer,
    client_id: clientId,
    version,
    ...(tier === undefined ? {} : { tier }),
    limits: Object.fromEntries(Object.entries(limits).map(([name, rates]) => [name, rates.map(ratePair)])),
    disabled,
    removed,
    changed_at: changedAtMs,
  };
}

const ratePair = ({ limit, windowMs }: Rate) => [limit, windowMs];

/** Reads {@link documentOf}; undefined for anything else, such as what a later release may write. */
export function readNotice(document: Readonly<Record<string, unknown>>): ClientNotice | undefined {
  const { issuer, client_id: clientId, version, tier, limits, disabled, removed, changed_at: changedAtMs } = document;
  if (typeof issuer !== 'string' || typeof clientId !== 'string' || typeof version !== 'number') return undefined;
  if (typeof disabled !== 'boolean' || typeof removed !== 'boolean' || typeof changedAtMs !== 'number')
    return undefined;
  if ((tier !== undefined && typeof tier !== 'string') || !isJsonObject(limits)) return undefined;
  const rates = Object.entries(limits).map(([name, pairs]) => [name, readRates(pairs)] as const);
  if (rates.some(([, list]) => list === undefined)) return undefined;
  const read = Object.fromEntries(rates) as Readonly<Record<string, readonly Rate[]>>;
  return { issuer, clientId, version, tier, limits: read, disabled, removed, changedAtMs };
}

function readRates(pairs: unknown): readonly Rate[] | undefined {
  if (!Array.isArray(pairs) || pairs.length === 0) return undefined;
  const rates = pairs.map((pair: unknown) => {
    const [limit, windowMs] = Array.isArray(pair) ? pair : [];
    return isCount(limit, 1, 1e9) && isCount(windowMs, 1000, 366 * 86_400_000) ? { limit, windowMs } : undefined;
  });
  return rates.every((rate) => rate !== undefined) ? rates : undefined;
}

const isCount = (value: unknown, least: number, most: number): value is number =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
