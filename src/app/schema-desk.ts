// The PostgreSQL schema for commands that run without a sidecar: `doorward migrate`, `doorward check --online`.
import type { LoadedConfig } from '../config/loaded.ts';
import { systemClock } from '../core/clock.ts';
import { migrate, schemaStatus } from '../stores/postgres/migrate.ts';
import { SchemaRefused as Refused } from '../stores/postgres/migrations.ts';
import { postgresSettings } from './control-plane.ts';
import { RELEASE } from './release.ts';

/** The schema cannot be used by this program: told apart from a server that is away. */
export const SchemaRefused = Refused;

/** A migration by number and name. */
export interface MigrationName {
  readonly number: number;
  readonly name: string;
}

/** How far the schema is, as the command line prints it. */
export interface SchemaReport {
  readonly server: string;
  readonly release: string;
  readonly applied: readonly (MigrationName & { readonly release: string; readonly applied_at: string })[];
  readonly pending: readonly MigrationName[];
}

/** Looks at the schema and migrates it. Both reject with SchemaRefused, or `store_unavailable`. */
export interface SchemaDesk {
  status(): Promise<SchemaReport>;
  /** What was applied. */
  migrate(): Promise<readonly MigrationName[]>;
}

const named = ({ number, name }: MigrationName): MigrationName => ({ number, name });

/** Undefined where the configuration names no server of its own. */
export function openSchemaDesk(loaded: LoadedConfig): SchemaDesk | undefined {
  const settings = postgresSettings(loaded);
  if (settings === undefined) return undefined;
  const options = { settings, clock: systemClock, release: RELEASE };
  return {
    async status() {
      const { server, applied, pending } = await schemaStatus(options);
      const rows = applied.map((row) => ({
        ...named(row),
        release: row.release,
        applied_at: row.appliedAt.toISOString(),
      }));
      return { server, release: RELEASE, applied: rows, pending: pending.map(named) };
    },
    migrate: async () => (await migrate(options)).map(named),
  };
}
