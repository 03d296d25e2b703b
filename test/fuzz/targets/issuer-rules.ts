// The rules of one issuer block, as the configuration gives them with all defaults.
import { sidecarSchema } from '../../../src/config/schema.ts';
import { type IssuerRules, rulesOf } from '../../../src/token/rules.ts';

/** What is written of an issuer. */
export interface IssuerInput {
  readonly issuer: string;
  readonly audience: readonly string[];
  readonly keys: { readonly url: string };
}

/** Compiles the rules. */
export function issuerRulesFor(input: IssuerInput): IssuerRules {
  const config = sidecarSchema.parse({
    version: 1,
    name: 'fuzz',
    upstreams: { app: { url: 'http://127.0.0.1:1' } },
    issuers: { test: input },
    routes: { all: { match: { prefix: '/' } } },
  });
  return rulesOf('test', config.issuers.test as Parameters<typeof rulesOf>[1]);
}
