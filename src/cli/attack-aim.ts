// What to aim at: from a configuration every route that asks for a token, from the command line the paths it names.
import type { LoadedConfig } from '../config/loaded.ts';
import type { RouteConfig, SidecarConfig } from '../config/schema.ts';
import { forgeFor } from './attack-forge.ts';
import type { Scene } from './attack-scene.ts';
import type { AttackTarget, Shown } from './attack-target.ts';

const bearer = (token: string): Shown => ({ field: `Authorization: Bearer ${token}` });

/** A path that the route serves; a template gets a word for each of its names. */
const samplePath = ({ prefix, path }: RouteConfig['match']) =>
  (prefix ?? path ?? '/').replaceAll(/\{[^}]*\}/g, 'x') || '/';

const sampleHost = ({ hosts }: RouteConfig['match']) => (hosts?.[0] ?? 'doorward-attack.invalid').replace(/^\*/, 'a');

const sharesHost = (a: RouteConfig, b: RouteConfig) =>
  b.match.hosts === undefined || (a.match.hosts ?? []).some((host) => b.match.hosts?.includes(host));

/** Where a route looks for a token, the plainest place first; undefined where only certificates or WebSockets open it. */
function placeOf({ credentials }: RouteConfig): AttackTarget['show'] | undefined {
  if (credentials.includes('bearer')) return bearer;
  for (const one of credentials) {
    if (typeof one === 'string') continue;
    if ('header' in one) return (token) => ({ field: `${one.header}: ${token}` });
    if ('cookie' in one) return (token) => ({ field: `Cookie: ${one.cookie}=${token}` });
    return (token) => ({ query: `${one.query}=${token}` });
  }
  return undefined;
}

/** Every route with authentication, with keys to forge for it; `nowMs` is when its tokens are made. */
export function aimAtRoutes({ config }: LoadedConfig, { keys }: Scene, agent: string, nowMs: number): AttackTarget[] {
  const routes = Object.entries(config.routes);
  const open = routes.filter(([, { auth }]) => auth === 'none');
  return routes
    .filter(([, { auth }]) => auth !== 'none')
    .map(([name, route]) => {
      const neighbour = open.find(([, other]) => sharesHost(route, other) && takesGet(other))?.[1];
      const show = placeOf(route);
      const [issuer = ''] = route.issuers ?? [];
      const [key, block] = [keys.get(issuer), config.issuers[issuer]];
      const forge = key && block && show ? forgeFor(key, block, route, nowMs) : undefined;
      return {
        name,
        host: sampleHost(route.match),
        method: methodOf(route),
        path: samplePath(route.match),
        open: neighbour && samplePath(neighbour.match),
        anonymous: route.auth === 'optional',
        show: show ?? bearer,
        token: forge?.good(),
        forge,
        identityHeaders: identityHeadersOf(config),
        agent,
      };
    });
}

const takesGet = ({ match: { methods } }: RouteConfig) => methods === undefined || methods.includes('GET');
const methodOf = ({ match: { methods } }: RouteConfig) =>
  methods === undefined || methods.includes('GET') ? 'GET' : (methods[0] as string);

function identityHeadersOf({ identity_headers, identity_assertion }: SidecarConfig): readonly string[] {
  const names = Object.keys(identity_headers);
  return identity_assertion.enabled ? [...names, identity_assertion.header] : names;
}

/** Paths of which the operator says that they need a token. */
export function aimAtPaths(
  paths: readonly string[],
  parts: { readonly host: string; readonly open?: string; readonly token?: string; readonly agent: string },
): AttackTarget[] {
  const { host, open, token, agent } = parts;
  const same = { host, open, token, agent, method: 'GET', anonymous: false, show: bearer, forge: undefined };
  return paths.map((path) => ({ ...same, name: path, path, identityHeaders: [] }));
}
