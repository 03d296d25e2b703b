// The kept inputs: one file each, named by its digest, so that a finding or a new edge is one more file and no merge conflict.
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';

const folder = (target: string) => new URL(`./corpus/${target}/`, import.meta.url);

/** All kept inputs of a target. */
export function readCorpus(target: string): readonly { readonly name: string; readonly input: Buffer }[] {
  if (!existsSync(folder(target))) return [];
  const names = readdirSync(folder(target)).sort();
  return names.map((name) => ({ name, input: readFileSync(new URL(name, folder(target))) }));
}

/** Keeps an input; answers the name of its file. */
export function keep(target: string, input: Buffer): string {
  mkdirSync(folder(target), { recursive: true });
  const name = createHash('sha256').update(input).digest('hex').slice(0, 16);
  writeFileSync(new URL(name, folder(target)), input);
  return name;
}
