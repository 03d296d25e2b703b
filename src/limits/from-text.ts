// The limit key that an operator names on a command line, as the request that would be counted under it: an address, a
// route, or `issuer/id` for what belongs to a principal; several parts joined by `,` in the order of the limit's key. What
// can be known to be mistyped is refused: nothing is counted under it, which looks like an innocent caller.
import { addressKey, readAddress } from '../core/address.ts';
import { SidecarError } from '../core/errors.ts';
import { nearestHint } from '../core/nearest.ts';
import type { Principal } from '../core/principal.ts';
import type { KeyPart, LimitSubject } from './compile.ts';

const malformed = (message: string) => new SidecarError('malformed', 'fields_invalid', message);

/** The names that a key may hold. */
export interface KeyNames {
  /** `iss` by the name of the issuer block. */
  readonly issuers: ReadonlyMap<string, string>;
  readonly routes: readonly string[];
}

/**
 * The subject that `text` names for a limit with this key; an issuer is named by its block or by its URL. Throws `malformed`
 * when the text cannot be one of this limit.
 */
export function subjectFromText(key: readonly KeyPart[], text: string, names: KeyNames): LimitSubject {
  const texts = key.length === 1 ? [text] : text.split(',');
  if (texts.length !== key.length)
    throw malformed(`needs ${key.length} parts joined by "," (${key.map(partName).join(', ')})`);
  const named = new Named(names);
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
  readonly #names: KeyNames;
  #issuerName: string | undefined;
  #words: Partial<Record<'client' | 'subject' | 'tenant', string>> = {};
  #claims: Record<string, unknown> = {};

  constructor(names: KeyNames) {
    this.#names = names;
  }

  take(part: KeyPart, text: string): void {
    if (text === '') throw malformed(`${partName(part)} must not be empty`);
    if (part === 'ip') this.address = addressIn(text);
    else if (part === 'route') this.route = this.#routeIn(text);
    else if (typeof part === 'string') this.#words[part] = this.#idOf(part, text);
    else this.#putClaim(part.claim, this.#idOf(partName(part), text));
  }

  principal(): Principal | undefined {
    if (this.#issuerName === undefined) return undefined;
    return {
      issuerName: this.#issuerName,
      issuer: this.#names.issuers.get(this.#issuerName) as string,
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

  #routeIn(text: string): string {
    const { routes } = this.#names;
    if (routes.includes(text)) return text;
    throw malformed(`route needs the name of a route${nearestHint(text, routes)}`);
  }

  #idOf(part: string, text: string): string {
    const { issuers } = this.#names;
    const found = [...issuers].flatMap(([name, iss]) => {
      const id = idBehind(name, text) ?? idBehind(iss, text);
      return id === undefined ? [] : [{ name, iss, id }];
    });
    const [first] = found;
    if (first === undefined) {
      throw malformed(`${part} needs issuer/id with an issuer of ${[...issuers.keys()].join(', ')}, or its URL`);
    }
    if (found.some(({ iss }) => iss !== first.iss)) throw malformed(`${part} fits several issuers: name the block`);
    if (this.#issuerName !== undefined && this.#issuerName !== first.name) throw malformed('all parts need one issuer');
    this.#issuerName = first.name;
    return first.id;
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

/** What stands behind `issuer/`; of an issuer that ends with a slash (Auth0's do) that one is enough. */
function idBehind(issuer: string, text: string): string | undefined {
  if (text.startsWith(`${issuer}/`)) return text.slice(issuer.length + 1) || undefined;
  return issuer.endsWith('/') && text.startsWith(issuer) ? text.slice(issuer.length) || undefined : undefined;
}

/** An address, or the /64 that IPv6 addresses are counted by. */
function addressIn(text: string): string {
  const found = readAddress(text.endsWith('::/64') ? text.slice(0, -'/64'.length) : text);
  if (found === undefined) throw malformed('ip needs an IP address, such as 192.0.2.7 or 2001:db8::7');
  return found.address;
}
