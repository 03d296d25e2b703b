// Tokens of operators, which leak scanners recognise and which are kept as digests only, and the operator of a state folder.
// That one is made at the first start, so that no sidecar ever runs with a default one. Who is let in is operator-check.ts's.
import { readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { z } from 'zod';
import type { Clock } from '../core/clock.ts';
import { secretsEqual } from '../core/encoding.ts';
import { SidecarError } from '../core/errors.ts';
import { randomId } from '../core/ids.ts';
import { isPrefixedSecret, mintPrefixedSecret, secretDigest } from '../core/prefixed-secret.ts';
import { createPrivateFile, makePrivateFolder } from '../core/private-file.ts';

/** Who calls, and what it may do: `*`, or names such as `tokens:write`. */
export interface Operator {
  readonly id: string;
  readonly permissions: readonly string[];
  /** The one tenant that it reaches; undefined: everything. */
  readonly tenant?: string | undefined;
  /** Undefined: it may for as long as nobody removes it. */
  readonly expiresAtMs?: number | undefined;
}

/** Caller on the Unix socket: the same uid, which could read the token file anyway. */
export const socketOperator: Operator = { id: 'socket', permissions: ['*'] };

/** SHA-256 of a token, hex: what is kept of it. */
export const operatorTokenDigest = secretDigest;

/** A new operator token. */
export const mintOperatorToken = (): string => mintPrefixedSecret('dwa');

/** True when the text has the form of an operator token and its checksum fits. */
export const isOperatorToken = (text: string): boolean => isPrefixedSecret('dwa', text);

const operatorsFile = z.strictObject({
  version: z.literal(1),
  operators: z.array(
    z.strictObject({
      id: z.string().min(1),
      sha256: z.string().regex(/^[0-9a-f]{64}$/),
      permissions: z.array(z.string().min(1)),
      created_at: z.string(),
    }),
  ),
});
type OperatorRecord = z.output<typeof operatorsFile>['operators'][number];

/** Where the first token is kept for the command line, mode 0600. */
export const adminTokenPath = (stateDir: string): string => join(stateDir, 'admin.token');
const operatorsPath = (stateDir: string) => join(stateDir, 'operators.json');

/** The operators of a state folder. */
export interface FileOperators {
  /** Who presents the token; compares with every record, in constant time. */
  find(presented: string): Operator | undefined;
  /** The records, for taking the first one over into a table; digests are hex. */
  readonly records: readonly { readonly id: string; readonly sha256: string }[];
  /** Forgets them for good, here and in the file: the table no longer knows them. */
  retire(): void;
}

/**
 * Opens the operators of a state folder (made with mode 0700), and makes the first one where there is none: its token goes
 * to `admin.token`, its digest to `operators.json`, both mode 0600. An `admin.token` that was put there beforehand is
 * adopted. Throws `misconfigured` for files that cannot be read, written or understood.
 */
export function openOperators(stateDir: string, clock: Clock): FileOperators {
  let records = readOperators(stateDir) ?? createOperators(stateDir, clock);
  return {
    find: (presented) => findOperator(records, presented),
    get records() {
      return records;
    },
    retire() {
      records = [];
      rmSync(operatorsPath(stateDir), { force: true });
      createPrivateFile(operatorsPath(stateDir), `${JSON.stringify({ version: 1, operators: [] }, undefined, 2)}\n`);
    },
  };
}

/** Compares with every record, in constant time, so that timing tells neither which one nor how far. */
function findOperator(records: readonly OperatorRecord[], presented: string): Operator | undefined {
  const shown = secretDigest(presented);
  let found: Operator | undefined;
  for (const record of records) if (secretsEqual(record.sha256, shown)) found = record;
  return found;
}

function readOperators(stateDir: string): readonly OperatorRecord[] | undefined {
  const path = operatorsPath(stateDir);
  const text = readIfPresent(path);
  if (text === undefined) return undefined;
  try {
    return operatorsFile.parse(JSON.parse(text)).operators;
  } catch (cause) {
    throw unusable(`${path} is not a list of operators`, cause);
  }
}

function createOperators(stateDir: string, clock: Clock): readonly OperatorRecord[] {
  const path = operatorsPath(stateDir);
  try {
    makePrivateFolder(stateDir);
    createPrivateFile(adminTokenPath(stateDir), `${mintOperatorToken()}\n`);
    const token = (readIfPresent(adminTokenPath(stateDir)) ?? '').trim();
    if (!isOperatorToken(token)) throw unusable(`${adminTokenPath(stateDir)} holds no operator token`);
    const operator: OperatorRecord = {
      id: `op_${randomId().slice(0, 8)}`,
      sha256: secretDigest(token),
      permissions: ['*'],
      created_at: new Date(clock.nowMs()).toISOString(),
    };
    createPrivateFile(path, `${JSON.stringify({ version: 1, operators: [operator] }, undefined, 2)}\n`);
  } catch (cause) {
    if (cause instanceof SidecarError) throw cause;
    throw unusable(`the operators cannot be kept in ${stateDir}`, cause);
  }
  // Read back: another process of ours may have been first, and then its list counts.
  return readOperators(stateDir) ?? [];
}

function readIfPresent(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw unusable(`${path} cannot be read`, error);
  }
}

function unusable(message: string, cause?: unknown): SidecarError {
  return new SidecarError('misconfigured', 'internal', message, { cause });
}
