// One whole configuration, compiled: what a request sees from its first byte to its last, whatever is reloaded meanwhile
// (attack 17). Made by server.ts from a validated configuration and the parts that outlive it.
import type { SidecarConfig } from '../config/schema.ts';
import type { AddressReader } from '../http/client-address.ts';
import type { Tally } from '../telemetry/instruments.ts';
import type { Verifier } from '../token/verify.ts';
import type { BadTokens } from './decide/bad-tokens.ts';
import type { CertificatePlan } from './decide/certificate.ts';
import type { CheckGate } from './decide/check-gate.ts';
import type { Exchange } from './exchange.ts';
import type { RouteTable } from './inbound/route.ts';
import type { FieldReader } from './inbound/strip.ts';
import type { IdentityPlan } from './outbound/identity.ts';
import type { TracePlan } from './tracing.ts';

/** A compiled configuration. */
export interface Generation {
  readonly config: SidecarConfig;
  /** Names it in kept decisions (config/loaded.ts). */
  readonly configId: string;
  readonly table: RouteTable;
  readonly readFields: FieldReader;
  readonly addresses: AddressReader;
  /** True when `client_address: forwarded`. */
  readonly readsForwarded: boolean;
  readonly reservedPrefix: string;
  /** Of the proxy port. */
  readonly scheme: 'http' | 'https';
  readonly identity: IdentityPlan;
  /** What client certificates are worth; undefined with `client_certificate: off`. */
  readonly certificates: CertificatePlan | undefined;
  /** All headers that `identity` may set. */
  readonly identityNames: readonly string[];
  /** The key set that verifies identity assertions; undefined without them. */
  readonly assertionKeys: string | undefined;
  readonly verifier: Verifier;
  /** Look-ups in the verified-token cache, by what they found. */
  readonly tokenLookups: { readonly hit: Tally; readonly refused: Tally; readonly miss: Tally };
  readonly badTokens: BadTokens;
  readonly gate: CheckGate;
  /** Undefined without `tracing`. */
  readonly tracing: TracePlan | undefined;
  readonly problemOptions: { readonly realm: string; readonly showReason: boolean };
  /** An error that should not have happened; logged, never shown. */
  onDefect(error: unknown): void;
  /** A private peer sent forwarded fields that nobody told us to believe: says so once. */
  noteUntrustedForwarding(exchange: Exchange): void;
}
