// What a peer is: something that listens on a port before the upstream and is measured like all the others.
import type { World } from './world.ts';

/** A started peer. */
export interface RunningPeer {
  readonly port: number;
  /** The one process whose CPU time counts. */
  readonly pid: number;
  stop(): Promise<void>;
}

/** A kind of peer. */
export interface Peer {
  readonly name: string;
  /** One line for the table. */
  readonly about: string;
  /** Whether it must refuse bad tokens; checked before anything is measured. */
  readonly checksTokens: boolean;
  /** Starts it and resolves once it serves; `nodeArgs` go to Node where it is a Node program. */
  start(world: World, nodeArgs?: readonly string[]): Promise<RunningPeer>;
}
