// /readyz: which facts make a replica unfit for traffic, and which only degrade it. Everything but the five facts below is
// 200, or a blip of Redis would take every pod out of service at once (design 7).

/** One part that a replica rests on. */
export interface Component {
  readonly status: 'up' | 'degraded' | 'down';
  /** Words of closed lists and figures; never an address with a password, never an id. */
  readonly detail?: Readonly<Record<string, unknown>>;
}

/** What readiness is decided from. */
export interface ReadinessFacts {
  readonly draining: boolean;
  /** A whole revocation log was known once since the start. */
  readonly revocationsLoaded: boolean;
  readonly issuersConfigured: number;
  readonly issuersWithKeys: number;
  readonly configurationValid: boolean;
  /** False where workers serve the proxy port and none of them runs; undefined with one process. */
  readonly trafficServed?: boolean | undefined;
  readonly components: Readonly<Record<string, Component>>;
}

/** The answer of /readyz. */
export interface Readiness {
  readonly ready: boolean;
  readonly body: {
    readonly status: 'ready' | 'degraded' | 'not_ready';
    /** Why not, as closed words. */
    readonly reasons: readonly string[];
    readonly components: Readonly<Record<string, Component>>;
  };
}

/** Judges the facts. */
export function readinessOf(facts: ReadinessFacts): Readiness {
  const reasons: string[] = [];
  if (facts.draining) reasons.push('draining');
  if (!facts.configurationValid) reasons.push('no_valid_configuration');
  if (!facts.revocationsLoaded) reasons.push('revocations_never_loaded');
  if (facts.issuersConfigured > 0 && facts.issuersWithKeys === 0) reasons.push('no_issuer_with_keys');
  if (facts.trafficServed === false) reasons.push('no_worker');
  const ready = reasons.length === 0;
  const degraded = Object.values(facts.components).some((component) => component.status !== 'up');
  const status = ready ? (degraded ? 'degraded' : 'ready') : 'not_ready';
  return { ready, body: { status, reasons, components: facts.components } };
}
