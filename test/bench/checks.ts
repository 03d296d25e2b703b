// What must hold of a peer before its numbers mean anything: it serves good tokens, and refuses bad ones if it checks at all.

import type { Peer, RunningPeer } from './peer.ts';
import { fetchStatus, target } from './requests.ts';
import type { World } from './world.ts';

/** The header that carries `token`. */
export const bearer = (token: string) => ({ authorization: `Bearer ${token}` });

/** Throws when `peer` refuses a good token, or accepts a bad one although it checks tokens. */
export async function checkPeer(world: World, peer: Peer, { port }: RunningPeer): Promise<void> {
  const { good, bad } = world.tokens;
  const status = await fetchStatus(port, target, bearer(good));
  if (status !== 200) throw new Error(`${peer.name} answered a good token with ${status}`);
  if (!peer.checksTokens) return;
  const without = await fetchStatus(port, target);
  if (without !== 401) throw new Error(`${peer.name} answered a request without a token with ${without}`);
  for (const [what, token] of Object.entries(bad)) {
    const answer = await fetchStatus(port, target, bearer(token));
    if (answer !== 401) throw new Error(`${peer.name} answered a bad token (${what}) with ${answer}`);
  }
}
