// From a file and an environment to a configuration that holds, or to every reason why it does not: read, overlay, check
// against the schema, resolve secrets, check the meaning, fill in. All steps report, and only the end throws, once.
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { readDocument } from './document.ts';
import { completeTree } from './effective.ts';
import { type Environment, overlayEnvironment } from './environment.ts';
import { digestBytes, digestFile } from './fingerprint.ts';
import { type LoadedConfig, sealConfig } from './loaded.ts';
import { formatPath, type Origins } from './places.ts';
import { ConfigError, type Finding, locateProblems } from './problem.ts';
import { withoutRefused } from './prune.ts';
import { sidecarSchema } from './schema.ts';
import { schemaFindings } from './schema-problems.ts';
import { resolveBeside, Secrets, secretReferences } from './secrets.ts';
import { isTree, type Tree, valueAt } from './tree.ts';
import { validateConfig } from './validate.ts';

/** Loads `file` under the variables of `env`. Throws {@link ConfigError} with every problem, and nothing else. */
export function loadConfig(options: { readonly file: string; readonly env: Environment }): LoadedConfig {
  return parseConfig({ ...options, bytes: readBytes(options.file) });
}

function readBytes(file: string): Uint8Array {
  try {
    return readFileSync(file);
  } catch (error) {
    const message = `cannot be read (${(error as NodeJS.ErrnoException).code ?? 'unknown error'})`;
    throw new ConfigError([{ place: file, path: '', message, nearest: undefined }], { cause: error });
  }
}

/** What {@link parseConfig} reads; `file` names it in messages and is where relative paths start. */
export interface ConfigText {
  readonly bytes: Uint8Array;
  readonly file: string;
  readonly env: Environment;
}

/** Like {@link loadConfig}, for bytes that are already here. Throws {@link ConfigError} only. */
export function parseConfig({ bytes, file, env }: ConfigText): LoadedConfig {
  const { tree, origins, findings } = readDocument(bytes);
  const refuse = (all: readonly Finding[]) => new ConfigError(locateProblems(all, file, origins));
  if (!isTree(tree)) throw refuse(findings);
  const early = [...findings, ...overlayEnvironment(tree, origins, env, sidecarSchema)];
  const examined = examine(tree, file, env, early);
  if (examined.problems.length > 0) throw refuse(examined.problems);
  const digests = new Map([[resolve(file), digestBytes(bytes)], ...examined.digests]);
  const warnings = locateProblems(examined.warnings, file, origins);
  return finish({ tree, file, origins, digests, warnings, secrets: examined.secrets });
}

interface Examined {
  readonly problems: readonly Finding[];
  readonly warnings: readonly Finding[];
  readonly secrets: Secrets;
  readonly digests: ReadonlyMap<string, string>;
}

/** Every problem of a merged tree. Blocks that the schema refuses are left out, so that the rest is still checked. */
function examine(tree: Tree, file: string, env: Environment, early: readonly Finding[]): Examined {
  const parsed = sidecarSchema.safeParse(tree, { jitless: true });
  const wrong = parsed.success ? [] : schemaFindings(parsed.error.issues, tree, sidecarSchema);
  const problems = [...early, ...withoutEchoes(wrong, early)];
  const usable = parsed.success ? { tree, config: parsed.data } : withoutRefused(tree, wrong, sidecarSchema);
  if (!usable) return { problems, warnings: [], secrets: new Secrets(), digests: new Map() };
  const digests = fileDigests(usable.tree, file);
  const { secrets, findings } = resolveSecrets(usable.tree, file, env);
  const { problems: meant, warnings } = validateConfig({ config: usable.config, tree, secrets, file });
  return { problems: [...problems, ...findings, ...withoutEchoes(meant, wrong)], warnings, secrets, digests };
}

/** Drops findings at or below a place that has been refused already. */
function withoutEchoes(findings: readonly Finding[], earlier: readonly Finding[]): Finding[] {
  const refused = earlier
    .filter((finding) => finding.path.length > 0 && finding.variable === undefined)
    .map((finding) => formatPath(finding.path));
  return findings.filter(
    ({ path }) => !path.some((_, index) => refused.includes(formatPath(path.slice(0, index + 1)))),
  );
}

/** Digests are taken before the contents are read: a change in between then shows as a change, never as none. */
function fileDigests(tree: Tree, file: string): Map<string, string> {
  const secrets = secretReferences(tree, sidecarSchema).map(([, reference]) => reference);
  const named = secrets.flatMap((reference) => ('file' in reference ? [reference.file] : []));
  const keySets = Object.values(isTree(tree.issuers) ? tree.issuers : {})
    .map((issuer) => valueAt(issuer, ['keys', 'file']))
    .filter((path) => typeof path === 'string');
  const paths = [...named, ...keySets].map((path) => resolveBeside(file, path));
  return new Map(paths.map((path) => [path, digestFile(path) ?? 'missing']));
}

function resolveSecrets(tree: Tree, file: string, env: Environment): { secrets: Secrets; findings: Finding[] } {
  const secrets = new Secrets();
  const findings: Finding[] = [];
  for (const [path, reference] of secretReferences(tree, sidecarSchema)) {
    const trouble = secrets.resolve(reference, env, file);
    if (trouble) findings.push({ path, ...trouble });
  }
  return { secrets, findings };
}

type Finished = Omit<Parameters<typeof sealConfig>[0], 'effective' | 'sources'>;

function finish({
  tree,
  origins,
  ...rest
}: Finished & { readonly tree: Tree; readonly origins: Origins }): LoadedConfig {
  const { tree: effective, sources } = completeTree(tree, origins, rest.file, sidecarSchema);
  return sealConfig({ ...rest, effective, sources });
}
