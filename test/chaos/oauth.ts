// Clients of a chaos run who get their tokens from the sidecars: by their own credentials, and by codes and refresh tokens. What
// they get is called with at either replica; what is spent stays spent, what is revoked stays refused, and nobody who retries as
// clients do loses a grant.
import { createHash, randomBytes } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Books, Loss, ReplicaIndex } from './books.ts';
import { at, type Callers, type Party, pick } from './callers.ts';
import type { Answer } from './replica.ts';
import { routes, type World } from './world.ts';

const CLIENTS = 4;
const PAUSE_MS = 100;
const REDIRECT = 'https://app.example/cb';
const LONGEST = 12;

interface Client {
  readonly id: string;
  readonly secret: string;
}

/** A grant as its client knows it. */
interface Grant {
  /** Redeemed refresh tokens, oldest first. */
  readonly spent: string[];
  latest: string;
  accessToken: string;
  /** Since when the latest has been asked for; a retry when an answer to that was lost. */
  triedMs: number | undefined;
}

/** Of a token endpoint. */
interface Tokens {
  readonly access_token: string;
  readonly refresh_token?: string;
}

/** Clients of the OAuth endpoints of both replicas. */
export class OAuthClients implements Party {
  readonly #world: World;
  readonly #books: Books;
  readonly #callers: Callers;
  readonly #random: () => number;
  readonly #clients: Client[] = [];
  #running = true;
  #work: Promise<unknown> = Promise.resolve();
  readonly #counts = { tokens: 0, grants: 0, refreshes: 0, retries: 0, revocations: 0, reuses: 0, unavailable: 0 };

  constructor(world: World, books: Books, callers: Callers, random: () => number) {
    this.#world = world;
    this.#books = books;
    this.#callers = callers;
    this.#random = random;
  }

  get told(): string {
    const { tokens, grants, refreshes, retries, revocations, reuses, unavailable } = this.#counts;
    const got = `${tokens} client_credentials, ${grants} codes, ${refreshes} refreshes (${retries} of them retries)`;
    return `OAuth: ${got}, ${revocations} revoked, ${reuses} reused and found out; ${unavailable} calls failed by faults`;
  }

  /** Registers the clients, before anything breaks. */
  async open(): Promise<void> {
    for (let count = CLIENTS; count > 0; count -= 1) {
      const { status, text } = await this.#world.replicas[0].admin('POST', '/v1/clients', {
        name: 'chaos',
        grant_types: ['client_credentials', 'authorization_code', 'refresh_token'],
        redirect_uris: [REDIRECT],
        scopes: ['read'],
      });
      if (status !== 201) throw new Error(`registering a client: ${status} ${text}`);
      const { client_id: id, client_secret: secret } = JSON.parse(text);
      this.#clients.push({ id, secret });
    }
  }

  start(): void {
    this.#work = Promise.all(this.#clients.map((client, index) => this.#lane(client, index)));
  }

  async stop(): Promise<void> {
    this.#running = false;
    await this.#work;
  }

  async #lane(client: Client, lane: number): Promise<void> {
    while (this.#running) {
      if (lane % 2 === 0) await this.#byCredentials(client);
      else await this.#byCode(client);
      await sleep(PAUSE_MS);
    }
  }

  async #byCredentials(client: Client): Promise<void> {
    const tokens = await this.#ask('token', client, { grant_type: 'client_credentials' });
    if (typeof tokens !== 'object') return;
    this.#counts.tokens += 1;
    await this.#use(tokens.access_token);
    if (this.#random() < 0.3) await this.#revoke(client, tokens.access_token, tokens.access_token);
  }

  /** One grant from its code to its end. */
  async #byCode(client: Client): Promise<void> {
    const grant = await this.#begin(client);
    if (grant === undefined) return;
    const turns = 2 + Math.floor(this.#random() * LONGEST);
    while (this.#running && grant.spent.length < turns) {
      await sleep(PAUSE_MS);
      if (!(await this.#refresh(client, grant))) return;
      await this.#use(grant.accessToken);
    }
    // The run ends, or an answer was lost: the one before the latest is within its grace.
    if (grant.triedMs !== undefined || grant.spent.length < turns) return;
    const isReuse = this.#random() < 0.5;
    const isOver = isReuse
      ? await this.#reuse(client, grant)
      : await this.#revoke(client, grant.latest, grant.accessToken);
    if (isOver) await this.#refused(client, grant.latest, 'the last refresh token of a grant that is over');
  }

  /** A code of the application, redeemed; undefined when a fault came between. */
  async #begin(client: Client): Promise<Grant | undefined> {
    const verifier = randomBytes(32).toString('base64url');
    const [replica, fromMs] = [this.#either(), performance.now()];
    const draft = {
      ...{ client_id: client.id, redirect_uri: REDIRECT, subject: 'alice' },
      code_challenge: createHash('sha256').update(verifier).digest('base64url'),
      code_challenge_method: 'S256',
    };
    const minted = await this.#world.replicas[replica].admin('POST', '/v1/codes', draft);
    if (minted.status !== 201) return this.#judge('a code', minted, replica, fromMs);
    const { code } = JSON.parse(minted.text);
    const form = { grant_type: 'authorization_code', code, redirect_uri: REDIRECT, code_verifier: verifier };
    const tokens = await this.#ask('token', client, form);
    // By clocks that are hours apart a code expires at once.
    if (tokens === 'invalid_grant' && !this.#books.lost('clock', fromMs)) this.#books.blame('a fresh code is refused');
    if (typeof tokens !== 'object') return undefined;
    this.#counts.grants += 1;
    await this.#use(tokens.access_token);
    return { spent: [], latest: tokens.refresh_token as string, accessToken: tokens.access_token, triedMs: undefined };
  }

  /** One turn of a grant: its next token, or the same again when the answer was lost. False when the grant is over. */
  async #refresh(client: Client, grant: Grant): Promise<boolean> {
    const isRetry = grant.triedMs !== undefined;
    grant.triedMs ??= performance.now();
    const tokens = await this.#ask('token', client, { grant_type: 'refresh_token', refresh_token: grant.latest });
    if (tokens === 'invalid_grant') {
      // A replica whose clock is hours ahead takes a retry for a reuse (docs of oauth.refresh_grace).
      if (!(isRetry && this.#books.lost('clock', grant.triedMs)))
        this.#books.blame('a refresh token that nobody spent is refused');
      return false;
    }
    if (typeof tokens !== 'object') return true;
    grant.spent.push(grant.latest);
    grant.latest = tokens.refresh_token as string;
    grant.accessToken = tokens.access_token;
    grant.triedMs = undefined;
    this.#counts.refreshes += 1;
    if (isRetry) this.#counts.retries += 1;
    return true;
  }

  /** Someone has kept the first one of all: it gives him away. True when that has been found out. */
  async #reuse(client: Client, { spent }: Grant): Promise<boolean> {
    const isOver = await this.#refused(client, spent[0] as string, 'a spent refresh token');
    if (isOver) this.#counts.reuses += 1;
    return isOver;
  }

  /** True when it was refused for what it is. */
  async #refused(client: Client, token: string, what: string): Promise<boolean> {
    const tokens = await this.#ask('token', client, { grant_type: 'refresh_token', refresh_token: token });
    if (typeof tokens === 'object') this.#books.blame(`${what} bought another`);
    return tokens === 'invalid_grant';
  }

  /** Revokes a token; callers are refused with `accessToken` where that was said, everywhere once all is whole. */
  async #revoke(client: Client, token: string, accessToken: string): Promise<boolean> {
    const [replica, fromMs] = [this.#either(), performance.now()];
    const answer = await this.#world.replicas[replica].oauth('revoke', client, { token });
    if (answer.status !== 200) {
      this.#judge('revoking', answer, replica, fromMs);
      return false;
    }
    // What has expired, or is not valid yet, by a clock that is wrong needs no entry there.
    if (this.#books.lost('clock', fromMs)) return false;
    this.#counts.revocations += 1;
    this.#callers.callRevoked({ token: accessToken, holds: [replica === 0, replica === 1] });
    return true;
  }

  /** A call to the application. */
  async #use(token: string): Promise<void> {
    const path = pick(routes, this.#random) as string;
    await this.#callers.attempt({ replica: this.#either(), path, method: 'POST', kind: 'good' }, token);
  }

  /** Tokens, `invalid_grant`, or undefined when a fault came between. */
  async #ask(
    endpoint: string,
    client: Client,
    form: Record<string, string>,
  ): Promise<Tokens | 'invalid_grant' | undefined> {
    const [replica, fromMs] = [this.#either(), performance.now()];
    const answer = await this.#world.replicas[replica].oauth(endpoint, client, form);
    if (answer.status === 200) return JSON.parse(answer.text);
    if (answer.code === 'invalid_grant') return 'invalid_grant';
    return this.#judge(endpoint, answer, replica, fromMs);
  }

  /** Holds a failure against the faults that explain it. */
  #judge(what: string, { status, code, text }: Answer, replica: ReplicaIndex, fromMs: number): undefined {
    const lost = (loss: Loss) => this.#books.lost(loss, fromMs);
    const isGone = status === 0 && lost(`gone${replica}`);
    const stores = ['postgres', 'disk', 'store', `gone${replica}`] as const;
    if (isGone || (status === 503 && stores.some(lost))) this.#counts.unavailable += 1;
    else this.#books.blame(`OAuth: ${what} at ${replica}: ${status} ${code} ${text.slice(0, 200)}`);
  }

  #either(): ReplicaIndex {
    return at(Math.floor(this.#random() * 2));
  }
}
