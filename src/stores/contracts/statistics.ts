// What can be counted of the durable store, in the words of the closed lists that the program itself uses.
import type { AuditCategory, AuditSeverity, AuditType } from '../../core/audit-types.ts';
import type { RevocationKind } from './revocations.ts';
import type { SigningKeyState } from './signing-keys.ts';

/** Figures of one moment. Where nothing is counted there is no row, but for revocations and audit events: those have all. */
export interface Statistics {
  readonly clients: readonly {
    readonly issuer: string;
    readonly tier: string | null;
    readonly state: 'enabled' | 'disabled';
    /** Of a foreign issuer. */
    readonly external: boolean;
    readonly clients: number;
  }[];
  readonly grants: readonly {
    readonly issuer: string;
    /** Live token families. */
    readonly families: number;
    /** Authorization codes that can still be redeemed. */
    readonly codes: number;
  }[];
  /** Events about tokens and codes, by day in UTC, the last 31 days. */
  readonly tokens: readonly {
    readonly day: string;
    readonly type: AuditType;
    readonly outcome: 'success' | 'failure';
    readonly events: number;
  }[];
  /** Entries in force. */
  readonly revocations: readonly { readonly kind: RevocationKind; readonly active: number }[];
  readonly signingKeys: readonly { readonly issuer: string; readonly state: SigningKeyState; readonly keys: number }[];
  readonly webauthnCredentials: readonly {
    readonly tenant: string | null;
    /** Data key that their public keys are sealed under. */
    readonly dataKey: string;
    readonly credentials: number;
  }[];
  readonly operators: readonly {
    readonly role: string | null;
    readonly state: 'active' | 'expired';
    readonly operators: number;
  }[];
  readonly audit: readonly {
    readonly type: AuditType;
    readonly category: AuditCategory;
    readonly severity: AuditSeverity;
    readonly outcome: 'success' | 'failure';
    readonly events: number;
  }[];
}
