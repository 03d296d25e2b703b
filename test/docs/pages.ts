// The fenced blocks of every page of the repository, as they stand: what is run, what it must print, and what is not run and why.
import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const root = fileURLToPath(new URL('../../', import.meta.url));

/** One `sh` block. */
export interface CommandBlock {
  /** Line of the opening fence, from 1. */
  readonly line: number;
  readonly text: string;
  /** Why nobody runs it here; such a block needs what a test cannot have. */
  readonly notRun?: string;
  /** It stays in the foreground: run until it prints this, then ended as by Ctrl-C. */
  readonly until?: string;
  /** The `text` block right behind it: what it must print. */
  readonly expected?: string;
}

/** A page. */
export interface Page {
  /** Path in the repository. */
  readonly name: string;
  readonly text: string;
  readonly blocks: readonly CommandBlock[];
  /** What the page says that the reader has, in `<!-- needs: … -->`. */
  readonly needs: readonly string[];
}

/** Every Markdown page of the repository. */
export function readPages(): Page[] {
  return globSync(['*.md', '{config,deploy,docs,examples,src}/**/*.md'], { cwd: root })
    .sort()
    .map((name) => parsePage(name, readFileSync(`${root}${name}`, 'utf8')));
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
    command = language === 'sh' ? commandBlock(at + 1, body, info) : fileBlock(at + 1, body, info);
    if (command !== undefined) blocks.push(command);
    at = end;
  }
  const needs = /^<!-- needs: (.+) -->$/m.exec(text)?.[1]?.split(' ') ?? [];
  return { name, text, blocks, needs };
}

function commandBlock(line: number, text: string, info: string): CommandBlock {
  if (info === '') return { line, text };
  const [, kind, value = ''] = /^(no-run reason|foreground until)=(.+)$/.exec(info) ?? [];
  if (kind === undefined)
    throw new Error(`line ${line}: a block is run, or says no-run reason=… or foreground until=…`);
  return kind === 'no-run reason' ? { line, text, notRun: value } : { line, text, until: value };
}

/** A file that the reader saves under the name that `file=NAME` says. */
function fileBlock(line: number, text: string, info: string): CommandBlock | undefined {
  const name = /^file=([\w.-]+)$/.exec(info)?.[1];
  return name === undefined ? undefined : { line, text: `cat > ${name} <<'END OF FILE'\n${text}\nEND OF FILE` };
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
