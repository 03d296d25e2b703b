// What the stores see of Redis: commands by key, whether one server answers or the nodes of a Cluster share the keys.
// Everything rejects with `store_unavailable` only, and nothing is sent again unless the server said that nothing ran.
import type { Script } from './scripts.ts';

/** Arguments of a command after its key. */
export type Arguments = readonly (string | number)[];

/** Redis, however many servers it is. */
export interface Link {
  /** True where keys of different slots may stand on different servers: then all keys of a script share a slot. */
  readonly sharded: boolean;
  /** True where only a server that takes writes is believed: Sentinels may have replaced one that does not. */
  readonly guarded: boolean;
  /** True while the server of the revocation log would be sent a command. */
  readonly ready: boolean;
  /** False from a command of {@link ready}'s server that got no answer until the next that does. */
  readonly answering: boolean;
  /** What the last attempt to connect to that server failed with, as a code; undefined while it is {@link ready}, or where nothing was said. */
  readonly problem: string | undefined;
  /** Problems as words for the health of the store. */
  warnings(): readonly string[];
  /** One command on `key`. */
  command(name: string, key: string, ...rest: Arguments): Promise<unknown>;
  /**
   * Commands that one connection answers, the one that serves `key` now: they reject once it is another. A cursor of HSCAN means
   * nothing to another server, or to the same after a restart, and would leave entries out.
   */
  pinned(key: string): (name: string, ...args: Arguments) => Promise<unknown>;
  /** Runs a script where its keys are. The reply is for the caller to check. */
  script(script: Script, keys: readonly string[], args: Arguments): Promise<unknown>;
  /**
   * The same for a write that must survive a failover: where replicas may take over, it rejects unless all that followed the
   * master in the last seconds have confirmed it, and at least one. The write may stand nevertheless.
   */
  replicatedScript(script: Script, keys: readonly string[], args: Arguments): Promise<unknown>;
  /** What every server says about itself, by its name. Servers that do not answer are left out; rejects when none does. */
  info(): Promise<ReadonlyMap<string, string>>;
  /** Calls back whenever a connection has become usable. */
  onReady(listener: () => void): void;
  /** Resolves true once every server that is known is connected, false after `waitMs`. */
  becomesReady(waitMs: number): Promise<boolean>;
  /** Ends the connection that serves `key`, which is then made anew: what it answered cannot be trusted. */
  remake(key: string): void;
  /** A server said, in a reply about `key`, that it takes no writes (READONLY, NOREPLICAS). */
  refusesWrites(key: string, code: string): void;
  /** Open connections. */
  connections(): number;
  close(): void;
}
