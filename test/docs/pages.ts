// The fenced blocks of a page of docs/, as they stand: what is run, what it must print, and what is not run and why.
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const docs = fileURLToPath(new URL('../../docs/', import.meta.url));

/** One `sh` block. */
export interface CommandBlock {
  /** Line of the opening fence, from 1. */
  readonly line: number;
  readonly text: string;
  /** Why nobody runs it here; such a block needs what a test cannot have. */
  readonly notRun?: string;
  /** The `text` block right behind it: what it must print. */
  readonly expected?: string;
}

/** A page. */
export interface Page {
  /** Path below docs/. */
  readonly name: string;
  readonly text: string;
  readonly blocks: readonly CommandBlock[];
  /** What the page says that the reader has, in `<!-- needs: … -->`. */
  readonly needs: readonly string[];
}

/** Every page of docs/. */
export function readPages(): Page[] {
  return globSync('**/*.md', { cwd: docs })
    .sort()
    .map((name) => parsePage(name, readFileSync(`${docs}${name}`, 'utf8')));
}

/** Parses Markdown text. Throws on a fence that nothing closes. */
export function parsePage(name: string, text: string): Page {
  const blocks: CommandBlock[] = [];
  const lines = text.split('\n');
  let command: CommandBlock | undefined;
  for (let at = 0; at < lines.length; at += 1) {
    const fence = /^```(\w*)(?: (.*))?$/.exec(lines[at] as string);
    if (fence === null) {
      // Only what follows directly is the output of a block.
      if (lines[at] !== '') command = undefined;
      continue;
    }
    const end = lines.indexOf('```', at + 1);
    if (end < 0) throw new Error(`${name}:${at + 1}: nothing closes this block`);
    const body = lines.slice(at + 1, end).join('\n');
    const [, language, info = ''] = fence;
    if (language === 'text' && command !== undefined) blocks[blocks.length - 1] = { ...command, expected: body };
    command = language === 'sh' ? commandBlock(at + 1, body, info) : undefined;
    if (command !== undefined) blocks.push(command);
    at = end;
  }
  const needs = /^<!-- needs: (.+) -->$/m.exec(text)?.[1]?.split(' ') ?? [];
  return { name, text, blocks, needs };
}

function commandBlock(line: number, text: string, info: string): CommandBlock {
  if (info === '') return { line, text };
  const reason = /^no-run reason=(.+)$/.exec(info)?.[1];
  if (reason === undefined) throw new Error(`line ${line}: a block is run, or says no-run reason=…`);
  return { line, text, notRun: reason };
}

/** Whether `output` is what a page says: `…` stands for anything within a line, alone on a line for any number of lines. */
export function isAsShown(expected: string, output: string): boolean {
  const pattern = expected
    .split('\n')
    .map((line) =>
      line.trim() === '…' ? '(?:[^\n]*\n)*?' : `${line.trimEnd().split('…').map(literally).join('[^\n]*')}[ \t\r]*\n`,
    )
    .join('');
  return new RegExp(`^${pattern}$`).test(output.endsWith('\n') ? output : `${output}\n`);
}

const literally = (text: string) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&');
