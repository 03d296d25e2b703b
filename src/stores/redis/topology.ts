// Which Cluster node serves which slot, as CLUSTER SLOTS and redirections tell it.
import { badReply } from './errors.ts';
import type { NodeAddress } from './settings.ts';
import { SLOTS } from './slot.ts';

/** Slots `from` to `to` and their master. */
export interface SlotRange {
  readonly from: number;
  readonly to: number;
  readonly master: NodeAddress;
}

/** Where an error reply sends us: `moved` for good, `ask` for this once, `wait` while a slot is between two nodes. */
export type Redirect =
  | { readonly type: 'moved' | 'ask'; readonly slot: number; readonly address: NodeAddress }
  | { readonly type: 'wait' };

/** `host:port`; unambiguous for IPv6 as well, because the port stands last. */
export const addressKey = ({ host, port }: NodeAddress): string => `${host}:${port}`;

/** Throws `store_unavailable` for a reply of another shape. A node that does not know its own name has `asked`'s. */
export function parseSlots(reply: unknown, asked: NodeAddress): SlotRange[] {
  if (!Array.isArray(reply)) throw badReply('CLUSTER SLOTS');
  return reply.map((row: unknown) => {
    const [from, to, master] = Array.isArray(row) ? (row as unknown[]) : [];
    const [host, port] = Array.isArray(master) ? (master as unknown[]) : [];
    if (!isSlot(from) || !isSlot(to) || !isPort(port)) throw badReply('CLUSTER SLOTS');
    return { from, to, master: { host: typeof host === 'string' && host !== '' ? host : asked.host, port } };
  });
}

/** Undefined for errors that redirect nowhere. `asked` is the node that answered: a redirection without host means it. */
export function parseRedirect(message: string, asked: NodeAddress): Redirect | undefined {
  if (message.startsWith('TRYAGAIN')) return { type: 'wait' };
  const [, word, slot, host, port] = /^(MOVED|ASK) (\d{1,5}) (.*):(\d{1,5})$/.exec(message) ?? [];
  if (word === undefined || !isSlot(Number(slot)) || !isPort(Number(port))) return undefined;
  const address = { host: host || asked.host, port: Number(port) };
  return { type: word === 'MOVED' ? 'moved' : 'ask', slot: Number(slot), address };
}

const isSlot = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) >= 0 && Number(value) < SLOTS;
const isPort = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536;
