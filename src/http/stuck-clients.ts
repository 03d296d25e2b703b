// Cuts off clients that take nothing of what is sent to them: what waits for them is held in memory, and nothing else would end
// it, because a response that is written whole has no deadline any more. One look a second over the connections.
import type { Server } from 'node:http';
import type { Socket } from 'node:net';

const LOOK_MS = 1000;

/** One connection as it was found when it last moved. */
interface Seen {
  /** Bytes that the client's system has taken from us. */
  taken: number;
  /** Looks in a row without movement. */
  still: number;
}

/** Watches the connections of `server` until it closes; `timeoutMs` counts from when a client last took something. */
export function cutStuckClients(server: Server, timeoutMs: number, isTls: boolean): void {
  const seen = new Map<Socket, Seen>();
  const most = Math.max(1, Math.ceil(timeoutMs / LOOK_MS));
  const watch = (socket: Socket) => {
    seen.set(socket, { taken: 0, still: 0 });
    socket.once('close', () => seen.delete(socket));
  };
  server.on(isTls ? 'secureConnection' : 'connection', watch);
  const timer = setInterval(() => {
    for (const [socket, state] of seen) {
      const pending = pendingBytes(socket);
      // Not by what waits: while an answer flows, as much may come in as goes out, and the same waits at every look.
      const taken = socket.bytesWritten - pending;
      state.still = (pending > 0 || isHeldBack(socket)) && taken === state.taken ? state.still + 1 : 0;
      state.taken = taken;
      if (state.still >= most) socket.destroy();
    }
  }, LOOK_MS).unref();
  server.once('close', () => clearInterval(timer));
}

/**
 * Answers to pipelined requests wait behind one that is not over, and node reads no more of the client until they are out: behind a
 * silent stream that is never, and who has left is not missed.
 */
const isHeldBack = (socket: Socket) => (socket as Socket & { _paused?: boolean })._paused === true;

/** Bytes that wait in this process. A write of many bytes counts as one until all are gone, so the system's own queue is asked too. */
function pendingBytes(socket: Socket): number {
  const { _handle: handle } = socket as Socket & { _handle?: { readonly writeQueueSize?: number } | null };
  return socket.writableLength + (handle?.writeQueueSize ?? 0);
}
