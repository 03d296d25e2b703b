// Sends finished spans to a collector by OTLP/HTTP. Nothing waits for it: spans stand in a bounded queue, one message is under
// way at a time, what finds the queue full is counted and gone, and a collector that fails is asked again a few times only.
import { setTimeout as sleep } from 'node:timers/promises';
import { Agent, request } from 'undici';

/** Where spans go. */
export interface TraceTarget {
  /** The whole URL, such as http://127.0.0.1:4318/v1/traces. */
  readonly url: string;
  /** Secrets among them; never logged. */
  readonly headers: Readonly<Record<string, string>>;
  /** PEM of the only CA to trust; undefined for the system's. */
  readonly ca: string | undefined;
  /** Longest one message may take, its answer included. */
  readonly timeoutMs: number;
  /** Spans held at most. */
  readonly queue: number;
  /** Makes a message of spans. */
  readonly envelope: (spans: readonly string[]) => string;
}

/** What became of spans: the label of `doorward_trace_spans_total`. */
export type SpanOutcome = 'delivered' | 'queue_full' | 'undelivered' | 'refused';

/** Told of what happens; never throws. */
export interface TraceObserver {
  count(outcome: SpanOutcome, spans: number): void;
  /** The collector does not take spans any more, in words of ours; undefined: it takes them again. Told once each. */
  trouble(why: string | undefined): void;
}

/** Spans in one message at most. */
const BATCH = 512;
/** How long a span waits for others, and before the second attempt; each further one waits twice as long. */
const PACE = { gatherMs: 1000, firstRetryMs: 1000 };
const ATTEMPTS = 4;
const LONGEST_RETRY_MS = 30_000;
const MAX_ANSWER_BYTES = 65_536;
/** Statuses after which the same message may be sent again (OTLP/HTTP, "Retryable response codes"). */
const RETRYABLE = new Set([429, 502, 503, 504]);

interface Answer {
  readonly outcome: 'delivered' | 'refused' | 'retry';
  readonly why: string;
  /** Spans of a message that was taken otherwise. */
  readonly rejected: number;
  readonly retryAfterMs: number | undefined;
}

/** The way to one collector. Disposing it drops what is left; `flush` first. */
export class TraceExporter implements AsyncDisposable {
  readonly #observer: TraceObserver;
  readonly #pace: typeof PACE;
  #target: TraceTarget;
  #agent: Agent;
  #queue: string[] = [];
  #gathering: NodeJS.Timeout | undefined;
  #sending: Promise<void> | undefined;
  /** Ends waiting, and with `closing` sending. */
  #hurry = new AbortController();
  readonly #closing = new AbortController();
  #hurried = false;
  #troubled = false;

  /** Tests hasten the pace. */
  constructor(target: TraceTarget, observer: TraceObserver, pace = PACE) {
    this.#target = target;
    this.#observer = observer;
    this.#pace = pace;
    this.#agent = agentFor(target);
  }

  /** From the next message on. */
  use(target: TraceTarget): void {
    const before = this.#target;
    this.#target = target;
    if (before.ca === target.ca) return;
    void this.#agent.close();
    this.#agent = agentFor(target);
  }

  /** Takes the spans of one request, all or none. */
  add(spans: readonly string[]): void {
    const queue = this.#queue;
    if (queue.length + spans.length > this.#target.queue) {
      this.#observer.count('queue_full', spans.length);
      return;
    }
    for (const span of spans) queue.push(span);
    if (this.#sending !== undefined) return;
    if (queue.length >= BATCH) this.#start();
    else this.#gather();
  }

  /** Sends what is there, without waiting between attempts; resolves when it is gone or `withinMs` are over. */
  async flush(withinMs: number): Promise<void> {
    this.#hurried = true;
    this.#hurry.abort();
    this.#start();
    const late = new AbortController();
    await Promise.race([this.#sending, sleep(withinMs, undefined, { signal: late.signal }).catch(() => undefined)]);
    late.abort();
    this.#hurried = false;
    this.#hurry = new AbortController();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort();
    this.#hurry.abort();
    clearTimeout(this.#gathering);
    await this.#sending;
    const left = this.#queue.splice(0).length;
    if (left > 0) this.#observer.count('undelivered', left);
    await this.#agent.destroy();
  }

  #gather(): void {
    this.#gathering ??= setTimeout(() => this.#start(), this.#pace.gatherMs).unref();
  }

  #start(): void {
    clearTimeout(this.#gathering);
    this.#gathering = undefined;
    if (this.#sending !== undefined || this.#queue.length === 0) return;
    this.#sending = this.#sendAll().finally(() => {
      this.#sending = undefined;
      if (this.#queue.length > 0 && !this.#closing.signal.aborted) this.#gather();
    });
  }

  async #sendAll(): Promise<void> {
    do await this.#deliver(this.#queue.splice(0, BATCH));
    while (!this.#closing.signal.aborted && this.#queue.length >= (this.#hurried ? 1 : BATCH));
  }

  async #deliver(spans: readonly string[]): Promise<void> {
    let answer: Answer | undefined;
    for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
      if (answer !== undefined) await this.#pause(answer.retryAfterMs ?? this.#backoffMs(attempt));
      if (this.#closing.signal.aborted) break;
      answer = await this.#post(this.#target.envelope(spans));
      if (answer.outcome !== 'retry' || (this.#hurried && attempt > 0)) break;
    }
    this.#tell(spans.length, answer);
  }

  #tell(spans: number, answer: Answer | undefined): void {
    if (answer?.outcome === 'delivered') {
      const rejected = Math.min(answer.rejected, spans);
      this.#observer.count('delivered', spans - rejected);
      if (rejected > 0) this.#observer.count('refused', rejected);
      if (this.#troubled) this.#observer.trouble(undefined);
      this.#troubled = false;
      return;
    }
    this.#observer.count(answer?.outcome === 'refused' ? 'refused' : 'undelivered', spans);
    // What is cut short by our own end says nothing of the collector.
    if (this.#troubled || answer === undefined || this.#closing.signal.aborted) return;
    this.#troubled = true;
    this.#observer.trouble(answer.why);
  }

  /** Replicas that failed together do not come back together. */
  #backoffMs(attempt: number): number {
    return this.#pace.firstRetryMs * 2 ** (attempt - 1) * (1 + Math.random() / 4);
  }

  /** Somebody who asks for an hour gets what the queue can bear. */
  async #pause(ms: number): Promise<void> {
    const signal = this.#hurry.signal;
    await sleep(Math.min(ms, LONGEST_RETRY_MS), undefined, { signal, ref: false }).catch(() => undefined);
  }

  async #post(body: string): Promise<Answer> {
    const { url, headers, timeoutMs } = this.#target;
    const timeout = AbortSignal.timeout(timeoutMs);
    try {
      const answer = await request(url, {
        method: 'POST',
        dispatcher: this.#agent,
        headers: { 'user-agent': 'doorward', ...headers, 'content-type': 'application/json' },
        body,
        signal: AbortSignal.any([timeout, this.#closing.signal]),
      });
      const { statusCode: status } = answer;
      const text = await bounded(answer.body);
      if (status === 200) return { outcome: 'delivered', why: '', rejected: rejectedOf(text), retryAfterMs: undefined };
      const retryAfterMs = retryAfter(answer.headers['retry-after']);
      const outcome = RETRYABLE.has(status) ? 'retry' : 'refused';
      return { outcome, why: `answered ${status}`, rejected: 0, retryAfterMs };
    } catch {
      const why = timeout.aborted ? 'did not answer in time' : 'cannot be reached';
      return { outcome: 'retry', why, rejected: 0, retryAfterMs: undefined };
    }
  }
}

const agentFor = ({ ca }: TraceTarget): Agent =>
  new Agent({ connections: 1, pipelining: 1, ...(ca === undefined ? {} : { connect: { ca } }) });

/** The first bytes of an answer; what is longer is let go with its connection. */
async function bounded(body: AsyncIterable<Buffer>): Promise<string> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of body) {
    bytes += chunk.length;
    if (bytes > MAX_ANSWER_BYTES) return '';
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** How many spans a collector says it did not take (ExportTracePartialSuccess); 0 for answers that do not say. */
function rejectedOf(text: string): number {
  try {
    const { partialSuccess } = JSON.parse(text) as { partialSuccess?: { rejectedSpans?: unknown } };
    const rejected = Number(partialSuccess?.rejectedSpans ?? 0);
    return Number.isInteger(rejected) && rejected > 0 ? rejected : 0;
  } catch {
    return 0;
  }
}

/** Seconds only: a date would have to be held against a clock that may differ. */
function retryAfter(value: string | string[] | undefined): number | undefined {
  return typeof value === 'string' && /^\d{1,6}$/.test(value) ? Number(value) * 1000 : undefined;
}
