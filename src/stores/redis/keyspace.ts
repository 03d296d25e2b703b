// Names of everything we keep in Redis. The format version stands in every key, so that two releases can share a Redis.
//
// Hash tags are there from the start: limit counters live in one of 16 lanes `{0}`..`{f}`, the revocation log in `{rev}`.
// On a standalone Redis one script touches all of them. On a Cluster the head is read in its own slot and each lane gets
// its own call; no key changes for that.
import type { Charge } from '../contracts/checks.ts';

const FORMAT = 'v1';
const BASE64URL = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';

/** Names of keys and of the notice channel under one prefix. */
export interface Keyspace {
  readonly head: string;
  readonly entries: string;
  readonly expiry: string;
  readonly log: string;
  readonly replicas: string;
  readonly decisions: string;
  readonly channel: string;
  readonly publishedChannel: string;
  /** Hash of published documents of a kind. */
  published(kind: string): string;
  /** One key per rate of the charge. */
  counters(charge: Charge): readonly string[];
}

/** The lane of a limit key: the first hex digit of its digest. */
export function lane(key: string): string {
  return (Math.max(0, BASE64URL.indexOf(key.charAt(0))) >> 2).toString(16);
}

/** All names under `prefix`. */
export function keyspace(prefix: string): Keyspace {
  const base = `${prefix}:${FORMAT}`;
  return {
    head: `${base}:{rev}:head`,
    entries: `${base}:{rev}:entries`,
    expiry: `${base}:{rev}:expiry`,
    log: `${base}:{rev}:log`,
    replicas: `${base}:replicas`,
    decisions: `${base}:decisions`,
    channel: `${base}:notices`,
    publishedChannel: `${base}:published`,
    published: (kind) => `${base}:published:${kind}`,
    counters: ({ key, algorithm, rates }) =>
      rates.map(({ windowMs }) => `${base}:{${lane(key)}}:${algorithm === 'log' ? 'g' : 's'}:${key}:${windowMs}`),
  };
}
