// Who calls the admin port: by token or client certificate, against the table of PostgreSQL when there is one (asked each
// time, so a removed operator is refused at once on every replica), else against the state folder. With PostgreSQL away only
// the socket and the registered token of this replica's state folder work, so that somebody can still revoke.
import type { Clock } from '../core/clock.ts';
import { SidecarError } from '../core/errors.ts';
import type { OperatorRecord, OperatorStore } from '../stores/contracts/operators.ts';
import type { OperatorFailures } from './operator-failures.ts';
import { type FileOperators, isOperatorToken, type Operator, operatorTokenDigest } from './operator-token.ts';
import { permissionsOf } from './roles.ts';

/** What a caller shows; a token decides before a certificate. */
export interface PresentedCredentials {
  readonly token: string | undefined;
  /** Names of a verified client certificate, as operators are registered under them. */
  readonly certificate: readonly string[];
}

/** Says who presents credentials. */
export interface OperatorCheck {
  /**
   * `limited` after ten wrong ones of one address in a minute, whatever is presented then; `refused` for unknown, expired and
   * removed ones alike. Rejects with `store_unavailable` while nobody can know.
   */
  check(presented: PresentedCredentials, address: string): Promise<Operator | 'refused' | 'limited'>;
  /** Compares the state folder with the table: registers the first operator, retires a removed one. Never rejects. */
  refresh(): Promise<void>;
}

/** What the check rests on. */
export interface OperatorCheckParts {
  readonly file: FileOperators;
  /** Undefined without `postgres`. */
  readonly table: OperatorStore | undefined;
  readonly failures: OperatorFailures;
  readonly clock: Clock;
  /** An address has used up its tries. */
  readonly onLimited: (address: string) => void;
  /** The first operator was taken over into an empty table. */
  readonly onRegistered: (id: string) => void;
  /** The token of the state folder was accepted while PostgreSQL was away. */
  readonly onBreakGlass: (id: string, address: string) => void;
}

const USED_EVERY_MS = 60_000;

/** Makes the check. */
export function operatorCheck(parts: OperatorCheckParts): OperatorCheck {
  const { file, table, failures, onLimited } = parts;
  const find = table === undefined ? undefined : tableLookup(parts, table);
  return {
    async check(presented, address) {
      if (failures.isLimited(address)) return 'limited';
      const found = find ? await find(presented, address) : file.find(presented.token ?? '');
      if (found === undefined && failures.fail(address)) onLimited(address);
      return found ?? 'refused';
    },
    refresh: async () => {
      if (table !== undefined) await refresh(parts, table).catch(() => undefined);
    },
  };
}

function tableLookup(parts: OperatorCheckParts, table: OperatorStore) {
  const { clock, file, onBreakGlass } = parts;
  const usedAtMs = new Map<string, number>();
  let isCompared = false;
  const accepted = (record: OperatorRecord | undefined): Operator | undefined => {
    const nowMs = clock.nowMs();
    if (record === undefined || (record.expiresAtMs ?? Number.POSITIVE_INFINITY) <= nowMs) return undefined;
    if (nowMs - (usedAtMs.get(record.id) ?? 0) >= USED_EVERY_MS) {
      usedAtMs.set(record.id, nowMs);
      // A figure for people: not worth refusing a call for.
      table.used(record.id, nowMs).catch(() => undefined);
    }
    const { id, role, tenant, expiresAtMs } = record;
    return { id, permissions: permissionsOf(role, record.permissions), tenant, expiresAtMs };
  };
  return async ({ token, certificate }: PresentedCredentials, address: string): Promise<Operator | undefined> => {
    // What has not our form and checksum is no token of ours: refused without asking anybody.
    if (token !== undefined && !isOperatorToken(token)) return undefined;
    try {
      if (token === undefined) return accepted(await table.findByCertificate(certificate));
      // The very first call may come before the table was ever compared with the state folder.
      if (!isCompared) await refresh(parts, table);
      isCompared = true;
      return accepted(await table.findByDigest(operatorTokenDigest(token)));
    } catch (error) {
      const known = isAway(error) && token !== undefined ? file.find(token) : undefined;
      if (known === undefined) throw error;
      onBreakGlass(known.id, address);
      return known;
    }
  };
}

const isAway = (error: unknown) => error instanceof SidecarError && error.kind === 'store_unavailable';
async function refresh({ file, clock, onRegistered }: OperatorCheckParts, table: OperatorStore): Promise<void> {
  const [first] = file.records;
  if (first !== undefined) {
    const isNew = await table.addFirst({
      id: first.id,
      name: 'first',
      tokenDigest: first.sha256,
      tokenPrefix: undefined,
      certificate: undefined,
      role: 'admin',
      permissions: [],
      tenant: undefined,
      createdAtMs: clock.nowMs(),
      createdBy: 'state_dir',
      expiresAtMs: undefined,
      lastUsedAtMs: undefined,
    });
    if (isNew) onRegistered(first.id);
    // Removed, or never taken over because others were there first: an outage must not bring it back.
    else if ((await table.findByDigest(first.sha256)) === undefined) file.retire();
  }
}
