// A worker's side of the channel: the configuration comes from the primary, events go to its audit trail, and the primary
// looks in, asks and commands through here. The replica behind it knows only that it has siblings and no private ports.

import type { LoadedConfig } from '../config/loaded.ts';
import { type ShippedConfig, unshipConfig } from '../config/shipped.ts';
import type { AuditTrail } from '../core/audit-trail.ts';
import type { Principal } from '../core/principal.ts';
import type { KnownClients } from '../limits/clients.ts';
import { wouldRefuse } from '../revocation/index.ts';
import { countsOf, type ObservedParts, readinessFacts, setGauges } from './observation.ts';
import type { Siblings } from './siblings.ts';
import { upstreamRows } from './upstreams.ts';
import type { PrimaryCalls, WorkerCalls, WorkerStart } from './worker-calls.ts';
import { Channel, type ChannelEnd } from './worker-channel.ts';
import { metricValues } from './worker-metrics.ts';
import { workerShare } from './worker-share.ts';

/** What the primary commands and looks at, once everything is open. */
export interface SeatedParts extends ObservedParts {
  readonly known: Pick<KnownClients, 'put'>;
  /** Serves on this port of the configured address; answers the URL. */
  listen(port: number): Promise<string>;
  /** Compiles a configuration; throws for one that cannot be used. */
  prepare(loaded: LoadedConfig): void;
  /** Uses what was prepared, or goes back to what is in use. */
  decide(what: 'use' | 'forget'): void;
  drain(): Promise<boolean>;
}

/** What a worker has in place of a file, private ports and an audit log. */
export interface WorkerSeat {
  readonly number: number;
  readonly instanceId: string;
  /** The configuration that the primary gave last; this worker's share of it. */
  loaded(): LoadedConfig;
  readonly trail: AuditTrail;
  readonly siblings: Siblings;
  /** From now on the primary is answered. */
  attach(parts: SeatedParts): void;
}

const TELL_MS = 500;
/** Longer than the primary waits for the other workers. */
const PASS_ON_MS = 5000;

/** What opens and closes the replica. */
export interface Seating {
  open(seat: WorkerSeat): Promise<void>;
  close(): Promise<void>;
}

/** Takes the seat at `end`; everything else follows from what the primary asks. */
export function takeSeat(end: ChannelEnd, { open, close }: Seating): void {
  let shipped: LoadedConfig | undefined;
  let prepared: LoadedConfig | undefined;
  let seated: SeatedParts | undefined;
  const parts = () => {
    if (seated === undefined) throw new TypeError('this worker is not open yet');
    return seated;
  };
  const unpack = (config: ShippedConfig, count: number) => workerShare(unshipConfig(config), count);
  let count = 1;
  const channel = new Channel<PrimaryCalls, WorkerCalls>(end, {
    open: async (start) => {
      count = start.count;
      shipped = unpack(start.config, count);
      const seat = seatOf(channel, start, () => shipped as LoadedConfig);
      const attach = (opened: SeatedParts) => {
        seated = opened;
      };
      await open({ ...seat, attach });
      await tellState(channel, parts());
      setInterval(() => void tellState(channel, parts()), TELL_MS);
      return undefined;
    },
    listen: (port) => parts().listen(port),
    prepare: (config) => {
      const next = unpack(config, count);
      parts().prepare(next);
      prepared = next;
      return undefined;
    },
    decide: (what) => {
      if (prepared === undefined) throw new TypeError('no configuration was prepared');
      if (what === 'use') shipped = prepared;
      prepared = undefined;
      parts().decide(what);
      return undefined;
    },
    hold: (entries) => {
      for (const entry of entries) parts().follower.hold(entry);
      return undefined;
    },
    withdraw: (entryId) => {
      parts().follower.release(entryId);
      return undefined;
    },
    notice: (notice) => {
      parts().known.put(notice);
      return undefined;
    },
    metrics: () => {
      setGauges(parts());
      return metricValues(parts().metrics);
    },
    upstreams: () => upstreamRows(parts().current().upstreams, parts().clock.monotonicMs()),
    decisions: ({ filter, limit }) => parts().stores.backend.decisions.find(filter, limit),
    wouldRefuse: ({ draft, tenant }) => {
      const { current, clock } = parts();
      const { verifier, signers } = current();
      const isAsked = ({ tenant: own, issuerName }: Principal) =>
        tenant === undefined || (own === tenant && signers.has(issuerName));
      return verifier.count((principal) => isAsked(principal) && wouldRefuse(draft, principal, clock.nowMs()));
    },
    drain: () => parts().drain(),
    close: async () => {
      await close();
      return undefined;
    },
  });
}

function seatOf(
  channel: Channel<PrimaryCalls, WorkerCalls>,
  { number, instanceId }: WorkerStart,
  loaded: () => LoadedConfig,
): Omit<WorkerSeat, 'attach'> {
  return {
    number,
    instanceId,
    loaded,
    trail: {
      record: async (draft) => void (await channel.call('audit', draft)),
      requireRoom: async () => void (await channel.call('auditRoom', undefined)),
    },
    siblings: {
      hold: async (entries) => void (await channel.call('hold', entries, PASS_ON_MS)),
      withdraw: async (entryId) => void (await channel.call('withdraw', entryId, PASS_ON_MS)),
      notice: async (notice) => void (await channel.call('notice', notice, PASS_ON_MS)),
    },
  };
}

async function tellState(channel: Channel<PrimaryCalls, WorkerCalls>, parts: SeatedParts): Promise<void> {
  const state = { facts: readinessFacts(parts), counts: countsOf(parts) };
  // A primary that has gone takes this process with it; worker-program.ts sees to that.
  await channel.call('state', state).catch(() => undefined);
}
