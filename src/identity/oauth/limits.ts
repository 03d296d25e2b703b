// Limits of the public endpoints: those that sidecar.yaml names, or ours. Counted in the same store as all others, and like
// them on this replica alone while it is away.
import type { SidecarConfig } from '../../config/schema.ts';
import type { ClientAddress } from '../../core/address.ts';
import { SidecarError } from '../../core/errors.ts';
import type { Principal } from '../../core/principal.ts';
import { type CompiledLimit, compileLimit, type LimitCharge, type LimitSettings } from '../../limits/compile.ts';
import type { RateStates } from '../../stores/contracts/checks.ts';
import type { RevocationHead } from '../../stores/contracts/revocations.ts';
import type { OAuthDependencies } from './dependencies.ts';
import { OAuthError } from './errors.ts';

/** What is limited on its own. */
export type LimitedEndpoint = keyof SidecarConfig['oauth']['limits'];

/** The limits of every endpoint, compiled. */
export type EndpointLimits = Readonly<Record<LimitedEndpoint, readonly CompiledLimit[]>>;

/** Who is calling: the address, and the client that it says it is. */
export interface LimitedCaller {
  readonly address: ClientAddress;
  readonly issuer: string;
  readonly claimedClient: string | undefined;
}

const MINUTE_MS = 60_000;
const standard = (key: LimitSettings['key'], limit: number): LimitSettings => ({
  key,
  rate: [{ limit, windowMs: MINUTE_MS }],
  algorithm: 'sliding',
  mode: 'enforce',
  on_store_down: 'local',
  exempt: [],
  shared: false,
});

const STANDARD: Readonly<Record<LimitedEndpoint, readonly LimitSettings[]>> = {
  token: [standard(['ip', 'client'], 30)],
  introspect: [standard(['ip', 'client'], 600)],
  revoke: [standard(['ip', 'client'], 60)],
  register: [standard(['ip'], 10)],
  userinfo: [standard(['ip'], 100)],
  documents: [standard(['ip'], 300)],
  failures: [standard(['ip'], 10), standard(['client'], 100)],
};

/** Compiles the limits of the endpoints. */
export function compileEndpointLimits({ oauth, limits, name }: SidecarConfig): EndpointLimits {
  const compiled = Object.entries(STANDARD).map(([endpoint, own]) => {
    const names = oauth.limits[endpoint as LimitedEndpoint];
    const list =
      names === undefined
        ? own.map((settings, at) => compileLimit(`oauth.${endpoint}.${at}`, settings, name))
        : names.map((each) => compileLimit(each, limits[each] as LimitSettings, name));
    return [endpoint, list] as const;
  });
  return Object.fromEntries(compiled) as unknown as EndpointLimits;
}

type Counting = Pick<OAuthDependencies, 'checks' | 'local'>;

/**
 * Counts a call. Throws OAuthError `rate_limited` when it is over a limit. The head of the revocation log that came with the
 * answer says how far this replica must be before it may call anything active.
 */
export async function chargeCall(
  counting: Counting,
  limits: EndpointLimits,
  endpoint: LimitedEndpoint,
  caller: LimitedCaller,
): Promise<RevocationHead | undefined> {
  const charges = chargesOf(limits[endpoint], endpoint, caller);
  const { states, head } = await counted(counting, charges);
  refuseOver(charges, states, (remaining) => remaining < 0);
  return head;
}

/**
 * Refuses an address that failed to authenticate too often, before anything is compared. Failures of a client alone never
 * refuse its good credentials: anybody could lock it out by failing in its name.
 */
export async function refuseFailing(counting: Counting, limits: EndpointLimits, caller: LimitedCaller): Promise<void> {
  const byAddress = limits.failures.filter((limit) => limit.byAddress);
  const charges = chargesOf(byAddress, 'failures', caller);
  if (charges.length === 0) return;
  let states: RateStates | 'deny';
  try {
    states = (await Promise.all(charges.map((charge) => counting.checks.peek(charge)))).flat();
  } catch (error) {
    if (!isAway(error)) throw error;
    // What this replica counted by itself decides.
    states = await counting.local.look(charges);
  }
  refuseOver(charges, states, (remaining) => remaining <= 0);
}

/** Counts a failed authentication; throws `rate_limited` in place of the refusal once there were too many. */
export async function chargeFailure(counting: Counting, limits: EndpointLimits, caller: LimitedCaller): Promise<void> {
  // One by one: a full count of the client must not keep the address from being counted.
  for (const charge of chargesOf(limits.failures, 'failures', caller)) {
    const { states } = await counted(counting, [charge]);
    refuseOver([charge], states, (remaining) => remaining < 0);
  }
}

async function counted(
  { checks, local }: Counting,
  charges: readonly LimitCharge[],
): Promise<{ readonly states: RateStates | 'deny'; readonly head?: RevocationHead | undefined }> {
  try {
    const { results, head } = await checks.check([charges]);
    const [states] = results;
    if (states !== undefined && !(states instanceof Error)) return { states, head };
    return { states: await local.decide(charges), head };
  } catch (error) {
    if (!isAway(error)) throw error;
    // Each limit by its own on_store_down.
    return { states: await local.decide(charges) };
  }
}

const isAway = (error: unknown) => error instanceof SidecarError && error.kind === 'store_unavailable';

function chargesOf(limits: readonly CompiledLimit[], endpoint: string, caller: LimitedCaller): readonly LimitCharge[] {
  const { address, issuer, claimedClient } = caller;
  // Not verified: it only ever decides which counter a call is counted under, together with the address.
  const principal = { issuer, issuerName: '', client: claimedClient, subject: undefined } as unknown as Principal;
  const subject = {
    address: address.address,
    addressKey: address.key,
    route: `oauth/${endpoint}`,
    principal: claimedClient === undefined ? undefined : principal,
  };
  return limits.filter(({ exempts }) => !exempts?.(address.address)).map((limit) => limit.charge(subject, undefined));
}

function refuseOver(
  charges: readonly LimitCharge[],
  states: RateStates | 'deny',
  isOver: (remaining: number) => boolean,
): void {
  if (states === 'deny') throw unavailable();
  let waitMs = -1;
  let at = 0;
  for (const { rates, shadow } of charges) {
    for (const _ of rates) {
      if (!shadow && isOver(states[at] as number)) waitMs = Math.max(waitMs, states[at + 1] as number);
      at += 2;
    }
  }
  if (waitMs < 0) return;
  const retryAfter = Math.max(1, Math.ceil(waitMs / 1000));
  throw new OAuthError('rate_limited', 'too many calls', { status: 429, retryAfter, why: 'rate_limited' });
}

/** A store is away that this call cannot do without. */
export const unavailable = (): OAuthError =>
  new OAuthError('temporarily_unavailable', 'try again', { status: 503, retryAfter: 1, why: 'store_unavailable' });
