// Command lines of ours that stand in text (prose, comments, messages, blocks that nobody runs): which there are, and whether the
// program takes them. Nothing is run.
import { type Command, CommanderError } from 'commander';
import { buildProgram } from '../../src/cli/program.ts';

const silent = { out() {}, err() {}, readInput: async () => '', env: {} };

/** A line that names a command and leaves out what else it needs is prose, not a mistake. */
const ABRIDGED: ReadonlySet<string> = new Set([
  'commander.help',
  'commander.helpDisplayed',
  'commander.version',
  'commander.missingArgument',
  'commander.missingMandatoryOptionValue',
  'commander.optionMissingArgument',
]);

const verbsOf = ({ commands }: Command): [string, Set<string>][] =>
  commands.map((noun) => [noun.name(), new Set(noun.commands.map((verb) => verb.name()))]);

/** Nouns and their verbs; of a command without verbs an empty set. */
const nouns: ReadonlyMap<string, ReadonlySet<string>> = new Map(verbsOf(buildProgram(silent)));
const called = new RegExp(
  `\\bdoorward ((?:${[...nouns.keys()].join('|')})\\b(?:\\$\\([^)]*\\)|[^|>&;)#\`]|[a-z]\\|[a-z])*)`,
  'g',
);

/** The lines in inline code: with `doorward` before them, or a noun and its verb alone. */
export function linesInProse(markdown: string): string[] {
  const prose = markdown.replace(/^```[\s\S]*?^```$/gm, '');
  return [...prose.matchAll(/`([^`\n]+)`/g)].flatMap(([, code = '']) => {
    const [first = '', second = ''] = code.split(' ');
    if (first === 'doorward') return [code.slice('doorward '.length)];
    return nouns.get(first)?.has(second) ? [code] : [];
  });
}

/** The lines anywhere in text where `doorward` and a noun of it follow one another. */
export const linesInText = (text: string): string[] =>
  [...text.matchAll(called)].map(([, line = '']) => line.split(/ {2,}|[\n\\]/)[0] as string);

/** Why the program would not take the line, as far as `…`; undefined when it does. `a|b` and `[--a|--b]` stand for each of them. */
export function refusalOf(line: string): string | undefined {
  const words = [...line.matchAll(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g)].map(([word]) =>
    word.replace(/^["'[]|["'\]]$/g, ''),
  );
  const end = words.findIndex((word) => /^(?:[<>|&#]+|2>.*|…)$/.test(word));
  return alternatives(words.slice(0, end < 0 ? undefined : end)).find((why) => why !== undefined);
}

function alternatives(words: readonly string[]): (string | undefined)[] {
  const at = words.findIndex((word) => word.includes('|'));
  if (at < 0) return [parsed(words)];
  return (words[at] as string).split('|').flatMap((word) => alternatives(words.with(at, word)));
}

function parsed(words: readonly string[]): string | undefined {
  const program = buildProgram(silent);
  disarm(program);
  try {
    program.parse([...words], { from: 'user' });
    return undefined;
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    return ABRIDGED.has(error.code) ? undefined : error.message;
  }
}

/** Leaves the parsing and takes away what the commands do and print. */
function disarm(command: Command): void {
  command.exitOverride().configureOutput({ writeOut() {}, writeErr() {} });
  if (command.commands.length === 0) command.action(() => {});
  for (const verb of command.commands) disarm(verb);
}
