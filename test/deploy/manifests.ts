// Manifests of Kubernetes against the schemas that Kubernetes (1.34) and the Prometheus operator publish, without a cluster:
// the compiled schemas of kubernetes-models find wrong values, and the compiler, with the types made from the same schemas,
// finds fields that do not exist, which a plain schema lets pass and the API server's strict validation does not.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import ts from 'typescript';
import { parseAllDocuments } from 'yaml';

/** An object as it would be sent to the API server. */
export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: {
    readonly name: string;
    readonly namespace?: string;
    readonly labels?: Readonly<Record<string, string>>;
  };
  // biome-ignore lint/suspicious/noExplicitAny: tests look into it as the schema says
  readonly [field: string]: any;
}

/** The objects of a YAML stream, in order. Throws for text that is no YAML and for doubled keys. */
export function manifestsIn(text: string): Manifest[] {
  return parseAllDocuments(text, { uniqueKeys: true }).flatMap((document) => {
    const [error] = 'errors' in document ? document.errors : [];
    if (error !== undefined) throw error;
    const value = document.toJS();
    return value === null ? [] : [value as Manifest];
  });
}

/** The one object of a kind and name. */
export function named(manifests: readonly Manifest[], kind: string, name: string): Manifest {
  const found = manifests.filter((one) => one.kind === kind && one.metadata.name === name);
  if (found.length !== 1) throw new Error(`${found.length} times ${kind} ${name}`);
  return found[0] as Manifest;
}

/** Everything that the API server would refuse of them; empty when it would take all. */
export async function manifestProblems(manifests: readonly Manifest[]): Promise<string[]> {
  const wrong = await Promise.all(manifests.map(wrongValues));
  return [...wrong.flat(), ...unknownFields(manifests)];
}

const moduleOf = ({ apiVersion, kind }: Manifest) =>
  apiVersion.startsWith('monitoring.coreos.com/')
    ? `@kubernetes-models/prometheus-operator/${apiVersion}/${kind}`
    : `kubernetes-models/${apiVersion}/${kind}`;

async function wrongValues(manifest: Manifest): Promise<string[]> {
  const { kind, metadata } = manifest;
  const place = `${kind} ${metadata?.name}`;
  try {
    const { [kind]: Model } = await import(moduleOf(manifest));
    new Model(manifest).validate();
    return [];
  } catch (error) {
    return [`${place}: ${(error as Error).message}`];
  }
}

function unknownFields(manifests: readonly Manifest[]): string[] {
  const lines = manifests.map((manifest, index) => {
    const type = `import('${moduleOf(manifest)}').I${manifest.kind}`;
    return `export const manifest${index}: ${type} = ${JSON.stringify(manifest)};`;
  });
  // Below this folder, so that the packages are found.
  const folder = mkdtempSync(join(import.meta.dirname, '.manifests-'));
  try {
    const file = join(folder, 'manifests.ts');
    writeFileSync(file, lines.join('\n'));
    const options = { strict: true, noEmit: true, skipLibCheck: true, module: ts.ModuleKind.NodeNext, types: [] };
    return ts.getPreEmitDiagnostics(ts.createProgram([file], options)).map((diagnostic) => {
      const text = ts.flattenDiagnosticMessageText(diagnostic.messageText, ' ');
      const line = diagnostic.file?.getLineAndCharacterOfPosition(diagnostic.start ?? 0).line;
      const manifest = line === undefined ? undefined : manifests[line];
      return `${manifest?.kind} ${manifest?.metadata?.name}: ${text}`;
    });
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
