// Questions and answers between the primary process and a worker, over the channel that `fork` gives them. Knows nothing of
// what is asked: the tables of calls stand in worker-calls.ts.
import { type ErrorKind, SidecarError } from '../core/errors.ts';
import type { Reason } from '../core/reasons.ts';

/** A table of calls: what is sent, and what comes back. */
export type Calls = { readonly [name: string]: readonly [ask: unknown, answer: unknown] };

/** One end of the channel: `process` in a worker, the child in the primary. */
export interface ChannelEnd {
  readonly connected: boolean;
  on(event: 'message' | 'disconnect', listener: (message: unknown) => void): unknown;
  send?: ((message: object, to: undefined, how: undefined, sent: (error: Error | null) => void) => boolean) | undefined;
}

/** What answers calls of the table; a rejection is the caller's. */
export type Answers<In extends Calls> = {
  readonly [Name in keyof In]: (ask: In[Name][0]) => In[Name][1] | Promise<In[Name][1]>;
};

interface SentError {
  readonly message: string;
  readonly kind?: ErrorKind;
  readonly reason?: Reason;
  /** Members of the system's errors, by which a busy port is told from other trouble. */
  readonly system?: { readonly code?: string; readonly address?: string; readonly port?: number };
}

type Envelope =
  | { readonly call: string; readonly id: number; readonly ask: unknown }
  | { readonly id: number; readonly answer: unknown }
  | { readonly id: number; readonly error: SentError };

interface Waiting {
  resolve(answer: unknown): void;
  reject(error: unknown): void;
  readonly timer: NodeJS.Timeout;
}

const PATIENCE_MS = 10_000;

/** Calls `Out` of the other process, and answers its calls `In`. Messages arrive in the order in which they were sent. */
export class Channel<Out extends Calls, In extends Calls> {
  readonly #end: ChannelEnd;
  readonly #answers: Answers<In>;
  readonly #waiting = new Map<number, Waiting>();
  #last = 0;

  constructor(end: ChannelEnd, answers: Answers<In>) {
    this.#end = end;
    this.#answers = answers;
    end.on('message', (message) => this.#take(message as Envelope));
    end.on('disconnect', () => this.#giveUp());
  }

  /** The answer of the other process; rejects with its error, when it has gone, and when it does not answer in time. */
  call<Name extends keyof Out & string>(
    name: Name,
    ask: Out[Name][0],
    patienceMs: number = PATIENCE_MS,
  ): Promise<Out[Name][1]> {
    const { promise, resolve, reject } = Promise.withResolvers<Out[Name][1]>();
    this.#last += 1;
    const id = this.#last;
    const fail = (message: string) => {
      if (this.#forget(id) !== undefined) reject(new Error(message));
    };
    const timer = setTimeout(() => fail(`no answer to ${name} in ${patienceMs} ms`), patienceMs).unref();
    this.#waiting.set(id, { resolve: resolve as Waiting['resolve'], reject, timer });
    this.#send({ call: name, id, ask }, () => fail('the other process has gone'));
    return promise;
  }

  #send(envelope: Envelope, onFailure: () => void): void {
    if (!this.#end.connected || this.#end.send === undefined) {
      onFailure();
      return;
    }
    this.#end.send(envelope, undefined, undefined, (error) => {
      if (error !== null) onFailure();
    });
  }

  #take(envelope: Envelope): void {
    if ('call' in envelope) return void this.#answer(envelope.call, envelope.id, envelope.ask);
    const waiting = this.#forget(envelope.id);
    if ('error' in envelope) waiting?.reject(received(envelope.error));
    else waiting?.resolve(envelope.answer);
  }

  async #answer(name: keyof In, id: number, ask: unknown): Promise<void> {
    try {
      const answer = await this.#answers[name]?.(ask as In[keyof In][0]);
      this.#send({ id, answer }, () => undefined);
    } catch (error) {
      this.#send({ id, error: sendable(error) }, () => undefined);
    }
  }

  #forget(id: number): Waiting | undefined {
    const waiting = this.#waiting.get(id);
    clearTimeout(waiting?.timer);
    this.#waiting.delete(id);
    return waiting;
  }

  #giveUp(): void {
    for (const id of [...this.#waiting.keys()]) this.#forget(id)?.reject(new Error('the other process has gone'));
  }
}

function sendable(error: unknown): SentError {
  if (error instanceof SidecarError) return { message: error.message, kind: error.kind, reason: error.reason };
  const { message, code, address, port } = error as NodeJS.ErrnoException & { address?: string; port?: number };
  const system = { ...(code && { code }), ...(address && { address }), ...(port !== undefined && { port }) };
  return { message: message ?? 'failed', system };
}

function received({ message, kind, reason, system }: SentError): Error {
  if (kind !== undefined && reason !== undefined) return new SidecarError(kind, reason, message);
  return Object.assign(new Error(message), system);
}
