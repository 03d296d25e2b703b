// Open-loop load at a constant rate, for latencies: request n is due at n / rate whatever happened to the ones before, and
// its latency counts from when it was due, so a stall is not hidden by waiting politely. A program of its own:
// `node steady-load.ts <json>`; prints one line of JSON.
import { readFileSync } from 'node:fs';
import { connect, type Socket } from 'node:net';
import { target } from './requests.ts';

/** Settings of one steady load; `rate` in requests per second. */
export interface SteadyPlan {
  readonly port: number;
  readonly rate: number;
  readonly seconds: number;
  readonly connections: number;
  readonly tokenFile: string;
}

/** Latencies in microseconds from when a request was due; `failed`: no 200, or no answer at all. */
export interface SteadyResult {
  readonly answered: number;
  readonly failed: number;
  readonly p50Us: number;
  readonly p90Us: number;
  readonly p99Us: number;
}

/** How long the loop sleeps between two looks at the clock, in ms; the sockets wait as long, for every peer alike. */
const NAP_MS = 0.05;
const CONTENT_LENGTH = /\r\ncontent-length: *(\d+)/i;

/** One keep-alive connection with at most one request under way. */
class Connection {
  dueAtMs = 0;
  readonly #socket: Socket;
  readonly #onAnswer: (connection: Connection, status: number) => void;
  #read = '';

  constructor(socket: Socket, onAnswer: (connection: Connection, status: number) => void) {
    this.#socket = socket;
    this.#onAnswer = onAnswer;
    socket.setNoDelay(true).setEncoding('latin1');
    socket.on('data', (text) => this.#take(String(text)));
    socket.on('close', () => this.#onAnswer(this, 0));
    socket.on('error', () => {});
  }

  send(text: string, dueAtMs: number): void {
    this.dueAtMs = dueAtMs;
    this.#socket.write(text, 'latin1');
  }

  end(): void {
    this.#socket.removeAllListeners('close').destroy();
  }

  #take(text: string): void {
    this.#read += text;
    const head = this.#read.indexOf('\r\n\r\n');
    if (head < 0) return;
    const length = Number(CONTENT_LENGTH.exec(this.#read)?.[1] ?? 0);
    if (this.#read.length < head + 4 + length) return;
    const status = Number(this.#read.slice(9, 12));
    this.#read = '';
    this.#onAnswer(this, status);
  }
}

async function openAll(plan: SteadyPlan, onAnswer: (connection: Connection, status: number) => void) {
  const opening = Array.from({ length: plan.connections }, async () => {
    const socket = connect(plan.port, '127.0.0.1');
    await new Promise((resolve, reject) => socket.once('connect', resolve).once('error', reject));
    return new Connection(socket, onAnswer);
  });
  return await Promise.all(opening);
}

function requestTexts(plan: SteadyPlan): readonly string[] {
  const head = `GET ${target} HTTP/1.1\r\nHost: 127.0.0.1:${plan.port}\r\nAccept: application/json\r\n`;
  return readFileSync(plan.tokenFile, 'utf8')
    .trim()
    .split('\n')
    .map((token) => `${head}User-Agent: bench/1.0\r\nAuthorization: Bearer ${token}\r\n\r\n`);
}

async function run(plan: SteadyPlan): Promise<SteadyResult> {
  const texts = requestTexts(plan);
  const total = Math.floor(plan.rate * plan.seconds);
  const latencies = new Float64Array(total);
  let answered = 0;
  let failed = 0;
  const idle: Connection[] = [];
  const connections = await openAll(plan, (connection, status) => {
    if (status === 200) latencies[answered++] = performance.now() - connection.dueAtMs;
    else failed += 1;
    if (status !== 0) idle.push(connection);
  });
  idle.push(...connections);
  const sleeper = new Int32Array(new SharedArrayBuffer(4));
  const startMs = performance.now() + 50;
  const gapMs = 1000 / plan.rate;
  let next = 0;
  while (answered + failed < total && performance.now() < startMs + plan.seconds * 1000 + 3000) {
    const nowMs = performance.now();
    while (next < total && idle.length > 0 && startMs + next * gapMs <= nowMs) {
      (idle.pop() as Connection).send(texts[next % texts.length] as string, startMs + next * gapMs);
      next += 1;
    }
    Atomics.wait(sleeper, 0, 0, NAP_MS);
    await new Promise(setImmediate);
  }
  for (const connection of connections) connection.end();
  const sorted = latencies.subarray(0, answered).sort();
  const at = (share: number) => Math.round((sorted[Math.floor(answered * share)] ?? 0) * 1000);
  return { answered, failed: total - answered, p50Us: at(0.5), p90Us: at(0.9), p99Us: at(0.99) };
}

if (import.meta.main) console.log(JSON.stringify(await run(JSON.parse(process.argv[2] as string))));
