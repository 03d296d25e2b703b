// What operators' calls about grants rest on; the composition root hands it in. Without the public OAuth endpoints there is none.

import type { FieldProblem } from '../http/problem.ts';
import type { FamilyPlace, FamilyRecord } from '../stores/contracts/grants.ts';

/** A code that an application asks for. Times in ms since the epoch. */
export interface CodeAsked {
  readonly clientId: string;
  readonly redirectUri: string;
  readonly subject: string;
  readonly scopes?: readonly string[] | undefined;
  readonly codeChallenge: string;
  readonly session?: string | undefined;
  readonly tenant?: string | undefined;
  readonly audience?: readonly string[] | undefined;
  readonly person: {
    readonly roles?: readonly string[] | undefined;
    readonly claims?: Readonly<Record<string, unknown>> | undefined;
    readonly authenticatedAtMs?: number | undefined;
    readonly nonce?: string | undefined;
  };
}

/** Which grants are listed. */
export interface GrantsWanted {
  readonly subject?: string | undefined;
  readonly client?: string | undefined;
  readonly session?: string | undefined;
  readonly tenant?: string | undefined;
}

/** Which grants end: all of a session, or those of a subject without the excepted ones. */
export type GrantsToEnd =
  | { readonly session: string }
  | {
      readonly subject: string;
      readonly exceptSession?: string | undefined;
      readonly exceptFamily?: string | undefined;
    };

/** Grants of our issuer. All reject with `store_unavailable` when PostgreSQL is away. */
export interface GrantDesk {
  /** The same for one tenant's clients and grants, as if there were no others. */
  within(tenant: string): GrantDesk;
  /** The code, or every field that does not hold. */
  mint(asked: CodeAsked): Promise<
    | {
        readonly code: string;
        readonly expiresAtMs: number;
        readonly scopes: readonly string[];
        readonly tenant: string | undefined;
      }
    | { readonly problems: readonly FieldProblem[] }
  >;
  /** Live families, newest first. */
  page(wanted: GrantsWanted, after: FamilyPlace | undefined, limit: number): Promise<readonly FamilyRecord[]>;
  /** Ends a family and its access tokens; undefined when there is none. */
  end(familyId: string): Promise<FamilyRecord | undefined>;
  /** Ends all that are meant, with their access tokens. */
  endAll(
    wanted: GrantsToEnd,
    reason: string,
  ): Promise<{ readonly families: number; readonly codes: number; readonly applied: 'all' | 'pending' }>;
}
