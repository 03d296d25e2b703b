// Words for what the YAML parser refuses. Its own messages quote the file, and any line of it may hold a secret, so only
// its codes are used.
import type { ErrorCode } from 'yaml';
import type { Position } from './places.ts';
import type { Finding } from './problem.ts';

const words: Readonly<Record<ErrorCode, string>> = {
  ALIAS_PROPS: 'an alias cannot have an anchor or tag',
  BAD_ALIAS: 'alias without an anchor before it; quote text that starts with *',
  BAD_COLLECTION_TYPE: 'tag does not fit the value',
  BAD_DIRECTIVE: 'unknown directive',
  BAD_DQ_ESCAPE: 'unknown \\ escape in double quotes',
  BAD_INDENT: 'indentation does not fit the lines before, or a bracket there is not closed',
  BAD_PROP_ORDER: 'anchor or tag in the wrong place',
  BAD_SCALAR_START: 'quote text that starts with this character',
  BLOCK_AS_IMPLICIT_KEY: 'two settings on one line; break the line, or quote text that holds ": "',
  BLOCK_IN_FLOW: 'block style inside { } or [ ]',
  DUPLICATE_KEY: 'the key stands twice in this mapping',
  IMPOSSIBLE: 'cannot be parsed',
  KEY_OVER_1024_CHARS: 'key is longer than 1024 characters',
  MISSING_CHAR: 'a closing quote, bracket, brace, comma, colon or space is missing',
  MULTILINE_IMPLICIT_KEY: 'a key has to stand on one line; is a colon missing?',
  MULTIPLE_ANCHORS: 'two anchors on one value',
  MULTIPLE_DOCS: 'only one document (no second ---) is allowed',
  MULTIPLE_TAGS: 'two tags on one value',
  NON_STRING_KEY: 'keys need to be text',
  RESOURCE_EXHAUSTION: 'is nested too deeply',
  TAB_AS_INDENT: 'tabs cannot indent; use spaces',
  TAG_RESOLVE_FAILED: 'tags (!…) are not supported; quote text that starts with !',
  UNEXPECTED_TOKEN: 'unexpected text; check indentation, quotes and brackets',
};

/** The parser's complaint in our words, at its place; `around` is the character before that place and the one there. */
export function yamlFinding(code: ErrorCode, position: Position, around: string): Finding {
  const isBracket = code === 'UNEXPECTED_TOKEN' && /[{}[\]]/.test(around);
  const message = isBracket ? 'unexpected text; quote a value that holds { } or [ ]' : words[code];
  return { path: [], message: message ?? 'cannot be parsed', position };
}

/** As much of the parser's errors as is looked at here. */
interface YamlError {
  readonly code: ErrorCode;
  readonly pos: readonly [number, number];
}

/**
 * One error of each mistake. After a token that does not fit, the parser complains of every other one of its line; and where the
 * document ended there (`end`, an offset), of every token of the rest of the file.
 */
export function withoutCascades<T extends YamlError>(
  errors: readonly T[],
  end: number,
  lineAt: (offset: number) => number,
): T[] {
  const lines = new Set<number>();
  return errors.filter(({ code, pos: [offset] }) => {
    if (code !== 'UNEXPECTED_TOKEN') return true;
    const line = lineAt(offset);
    const follows = lines.has(line) || (lines.size > 0 && offset >= end);
    lines.add(line);
    return !follows;
  });
}
