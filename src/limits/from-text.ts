// The limit key that an operator names on a command line, as the request that would be counted under it: an address, a
// route, or `issuer/id` for what belongs to a principal; several parts joined by `,` in the order of the limit's key.

import { addressKey } from '../core/address.ts';
import { SidecarError } from '../core/errors.ts';
import type { Principal } from '../core/principal.ts';
import type { KeyPart, LimitSubject } from './compile.ts';

const malformed = (message: string) => new SidecarError('malformed', 'fields_invalid', message);

/**
 * The subject that `text` names for a limit with this key; `issuers` gives `iss` by the name of the issuer block. Throws
 * `malformed` when the text cannot be one of this limit.
 */
export function subjectFromText(
  key: readonly KeyPart[],
  text: string,
  issuers: ReadonlyMap<string, string>,
): LimitSubject {
  const texts = key.length === 1 ? [text] : text.split(',');
  if (texts.length !== key.length)
    throw malformed(`needs ${key.length} parts joined by "," (${key.map(partName).join(', ')})`);
  const named = new Named(issuers);
  for (const [at, part] of key.entries()) named.take(part, (texts[at] as string).trim());
  return {
    address: named.address,
    addressKey: addressKey(named.address),
    route: named.route,
    principal: named.principal(),
  };
}

const partName = (part: KeyPart) => (typeof part === 'string' ? part : `claim ${part.claim.join('.')}`);

class Named {
  address = '';
  route = '';
  readonly #issuers: ReadonlyMap<string, string>;
  #issuerName: string | undefined;
  #words: Partial<Record<'client' | 'subject' | 'tenant', string>> = {};
  #claims: Record<string, unknown> = {};

  constructor(issuers: ReadonlyMap<string, string>) {
    this.#issuers = issuers;
  }

  take(part: KeyPart, text: string): void {
    if (text === '') throw malformed(`${partName(part)} must not be empty`);
    if (part === 'ip') this.address = text;
    else if (part === 'route') this.route = text;
    else if (typeof part === 'string') this.#words[part] = this.#idOf(part, text);
    else this.#putClaim(part.claim, this.#idOf(partName(part), text));
  }

  principal(): Principal | undefined {
    if (this.#issuerName === undefined) return undefined;
    return {
      issuerName: this.#issuerName,
      issuer: this.#issuers.get(this.#issuerName) as string,
      subject: this.#words.subject,
      client: this.#words.client,
      tenant: this.#words.tenant,
      scopes: [],
      roles: [],
      tokenId: '',
      session: undefined,
      family: undefined,
      keyId: '',
      issuedAtMs: undefined,
      expiresAtMs: 0,
      claims: this.#claims,
    };
  }

  #idOf(part: string, text: string): string {
    const slash = text.indexOf('/');
    const issuerName = text.slice(0, Math.max(slash, 0));
    if (slash < 0 || !this.#issuers.has(issuerName)) {
      throw malformed(`${part} needs issuer/id with an issuer of ${[...this.#issuers.keys()].join(', ')}`);
    }
    if (this.#issuerName !== undefined && this.#issuerName !== issuerName) throw malformed('all parts need one issuer');
    this.#issuerName = issuerName;
    return text.slice(slash + 1);
  }

  #putClaim(path: readonly string[], value: string): void {
    let at = this.#claims;
    for (const name of path.slice(0, -1)) {
      at[name] ??= {};
      at = at[name] as Record<string, unknown>;
    }
    at[path.at(-1) as string] = value;
  }
}
