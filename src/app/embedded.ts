// The embedded PostgreSQL, as commands see it: whether it can be had here, and how nothing of it is left.
import { rmSync } from 'node:fs';
import { dataFolder, embeddedBinaries, unprivilegedAccount } from '../stores/postgres/embedded.ts';

/** True where `postgres: {embedded: true}` can start. */
export function hasEmbeddedPostgres(): boolean {
  try {
    embeddedBinaries();
    unprivilegedAccount();
    return true;
  } catch {
    // The package is not installed, or there is nobody to run it as: the caller goes without, or says so.
    return false;
  }
}

/** Removes the data of the embedded PostgreSQL of `stateDir`, wherever it is; the server must have ended. */
export function removeEmbeddedPostgres(stateDir: string): void {
  rmSync(dataFolder(stateDir, unprivilegedAccount()), { recursive: true, force: true });
}
