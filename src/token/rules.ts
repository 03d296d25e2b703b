// One issuer block of sidecar.yaml, brought into the shape that header.ts and claims.ts check against.
import type { IssuerConfig } from '../config/schema.ts';
import { defaultAlgorithms, defaultSecretAlgorithms } from './algorithms.ts';

/** A claim as a path of member names; each step looks at own members only. */
export type ClaimPath = readonly string[];

/** What tokens of one issuer must be like. Durations in ms. */
export interface IssuerRules {
  /** Key of the issuer block. */
  readonly name: string;
  /** `iss`, compared byte for byte. */
  readonly issuer: string;
  readonly audiences: ReadonlySet<string>;
  readonly audienceClaim: string;
  /** Accepted `typ`, in lower case without `application/`; `absent` accepts none. */
  readonly types: ReadonlySet<string>;
  readonly algorithms: ReadonlySet<string>;
  readonly clockToleranceMs: number;
  readonly maxLifetimeMs: number;
  readonly require: IssuerConfig['require'];
  readonly subject: ClaimPath;
  /** Tried in order; the first that is present counts. */
  readonly client: readonly ClaimPath[];
  readonly scopes: readonly ClaimPath[];
  readonly roles: ClaimPath;
  readonly tenant: ClaimPath;
  readonly session: ClaimPath;
  /** Only our own tokens name a token family. */
  readonly family: ClaimPath | undefined;
}

/** The rules of an issuer block; the defaults that depend on other settings are filled in here. */
export function rulesOf(name: string, config: IssuerConfig): IssuerRules {
  const algorithms = config.keys.secret === undefined ? defaultAlgorithms : defaultSecretAlgorithms;
  return {
    name,
    issuer: config.issuer,
    audiences: new Set(config.audience),
    audienceClaim: config.audience_claim,
    types: new Set(config.types.map((type) => type.toLowerCase())),
    algorithms: new Set(config.algorithms ?? algorithms),
    clockToleranceMs: config.clock_tolerance,
    maxLifetimeMs: config.max_lifetime,
    require: config.require,
    subject: config.claims.subject,
    client: config.claims.client ? [config.claims.client] : [['client_id'], ['azp']],
    scopes: config.claims.scopes ? [config.claims.scopes] : [['scope'], ['scp']],
    roles: config.claims.roles,
    tenant: config.claims.tenant,
    session: config.claims.session,
    family: config.sign ? ['family'] : undefined,
  };
}
