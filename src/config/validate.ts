// Everything about a configuration that the schema alone cannot say: references, overlaps, meaning. One table of checks,
// all of them always run; the words for each refusal stand in checks/.
import type { CheckContext, Section } from './checks/context.ts';
import { checkIdentityHeaders } from './checks/credentials.ts';
import { checkIssuers } from './checks/issuers.ts';
import { checkClients, checkLimits } from './checks/limits.ts';
import { checkOAuth } from './checks/oauth.ts';
import { checkProxy } from './checks/proxy.ts';
import { checkRoutes } from './checks/routes.ts';
import { checkSealing } from './checks/sealing.ts';
import { checkStores } from './checks/stores.ts';
import { checkTracing } from './checks/tracing.ts';
import { checkUpstreams } from './checks/upstreams.ts';
import { checkWorkers } from './checks/workers.ts';
import type { Finding } from './problem.ts';
import type { SidecarConfig } from './schema.ts';
import { resolveBeside, type Secrets } from './secrets.ts';
import { isTree, type Tree, valueAt } from './tree.ts';

/** The checks, in the order of the file. */
const checks = [
  checkProxy,
  checkWorkers,
  checkUpstreams,
  checkIssuers,
  checkLimits,
  checkRoutes,
  checkIdentityHeaders,
  checkClients,
  checkStores,
  checkSealing,
  checkOAuth,
  checkTracing,
] as const;

/** What the checks found: problems refuse the configuration, warnings are only said. */
export interface Validation {
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
}

/** What there is to check: a configuration that the schema has accepted, and the tree it was part of. */
export interface Subject {
  readonly config: SidecarConfig;
  /** The whole merged tree; `config` may lack blocks of it that the schema refused. */
  readonly tree: Tree;
  readonly secrets: Secrets;
  /** The configuration file, where relative paths start. */
  readonly file: string;
}

/** Runs every check. */
export function validateConfig({ config, tree, secrets, file }: Subject): Validation {
  const problems: Finding[] = [];
  const warnings: Finding[] = [];
  const context: CheckContext = {
    config,
    secrets,
    names: blockNames(tree),
    given: (path) => valueAt(tree, path) !== undefined,
    resolvePath: (path) => resolveBeside(file, path),
    problem: (path, message, more) => problems.push({ path, message, ...more }),
    warn: (path, message) => warnings.push({ path, message }),
  };
  for (const check of checks) check(context);
  return { problems, warnings };
}

function blockNames(tree: Tree): CheckContext['names'] {
  const of = (section: Section) => Object.keys(isTree(tree[section]) ? tree[section] : {});
  return {
    upstreams: of('upstreams'),
    issuers: of('issuers'),
    limits: of('limits'),
    routes: of('routes'),
    clients: of('clients'),
  };
}
