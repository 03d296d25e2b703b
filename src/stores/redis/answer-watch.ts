// What the answers on one connection say about its server. Answers belong to commands by their order alone: once one was
// lost, each command gets the answer of the one before or none in time, though bytes keep coming; only a new connection ends
// that. A server that is merely late must not cost every request its whole timeout: after some in a row it is only probed.
import type { Redis } from 'ioredis';
import { redisCode } from './errors.ts';

/** A connection on which every command has failed for this long is made anew. */
const HOPELESS_MS = 2000;
/** Commands in a row without an answer after which requests are no longer sent. */
const SUSPECT_AFTER = 5;
const LEAST_PROBE_MS = 100;
/** A server that stays read-only is reconnected to at most this often. */
const REMAKE_EVERY_MS = 1000;

/** Ends the connection at once; it is then made anew, with whatever server the name or the Sentinels stand for by then. */
export function remake(redis: Redis): void {
  redis.stream?.destroy();
}

/** Watches one connection through all its lives. */
export class AnswerWatch implements Disposable {
  /** True while requests must not be sent: the server did not answer several in a row, and is being probed. */
  suspended = false;
  /** Told when another server answers than the one before (by its run id), before any command of ours is answered. */
  onReplaced: () => void = () => undefined;
  /** Told when the server stops or begins to answer. */
  onChange: () => void = () => undefined;
  readonly #redis: Redis;
  readonly #probeEveryMs: number;
  #unanswered = 0;
  #failingSinceMs: number | undefined;
  #remadeAtMs = Number.NEGATIVE_INFINITY;
  #runId: string | undefined;
  #probe: NodeJS.Timeout | undefined;

  /** `suspends`: whether requests stop being sent (the request path), probed about every `probeEveryMs`. */
  constructor(redis: Redis, suspends: boolean, probeEveryMs: number) {
    this.#redis = redis;
    this.#probeEveryMs = Math.max(LEAST_PROBE_MS, probeEveryMs);
    const onAnswer = () => this.#answered();
    const onFailure = (error: unknown) => this.#failed(error, suspends);
    const onInfo = (text: unknown) => this.#meets(text);
    const send = redis.sendCommand.bind(redis);
    redis.sendCommand = (command, stream) => {
      command.promise.then(onAnswer, onFailure);
      if (command.name === 'info') command.promise.then(onInfo, () => undefined);
      return send(command, stream);
    };
    redis.on('ready', onAnswer);
  }

  /** True until a command went without an answer, and again from the next answer on. */
  get answering(): boolean {
    return this.#unanswered === 0;
  }

  /** The server said that it is a replica: whoever is the master now is another. */
  readOnly(): void {
    const nowMs = performance.now();
    if (nowMs - this.#remadeAtMs < REMAKE_EVERY_MS) return;
    this.#remadeAtMs = nowMs;
    remake(this.#redis);
  }

  [Symbol.dispose](): void {
    clearTimeout(this.#probe);
  }

  #answered(): void {
    this.#unanswered = 0;
    this.#failingSinceMs = undefined;
    if (this.suspended) this.#suspend(false);
  }

  #failed(error: unknown, suspends: boolean): void {
    const code = redisCode(error);
    if (code === 'READONLY') this.readOnly();
    if (code !== '' || this.#redis.status !== 'ready') {
      this.#unanswered = 0;
      this.#failingSinceMs = undefined;
      return;
    }
    this.#unanswered += 1;
    if (suspends && !this.suspended && this.#unanswered >= SUSPECT_AFTER) this.#suspend(true);
    this.#failingSinceMs ??= performance.now();
    if (performance.now() - this.#failingSinceMs < HOPELESS_MS) return;
    this.#failingSinceMs = undefined;
    remake(this.#redis);
  }

  #suspend(suspended: boolean): void {
    this.suspended = suspended;
    clearTimeout(this.#probe);
    if (suspended) this.#probeLater();
    this.onChange();
  }

  /** An answer to the probe ends the suspension like any other answer; a new connection's first answer does as well. */
  #probeLater(): void {
    const inMs = this.#probeEveryMs * (0.5 + Math.random());
    this.#probe = setTimeout(() => {
      if (this.#redis.status === 'ready') void this.#redis.ping().catch(() => undefined);
      if (this.suspended) this.#probeLater();
    }, inMs).unref();
  }

  #meets(info: unknown): void {
    const runId = /^run_id:(\w+)/m.exec(String(info))?.[1];
    if (runId === undefined) return;
    const before = this.#runId;
    this.#runId = runId;
    if (before !== undefined && before !== runId) this.onReplaced();
  }
}
