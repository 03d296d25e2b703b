// However a chaos run ends, nothing that it started outlives it: real servers do not end with the program that started them.
import { readdirSync, readFileSync } from 'node:fs';

/** `comm` of the shells that keep a PostgreSQL: once this process is gone they end it and clear its folder away. */
const KEEPER = 'sh';

/** Processes that `ancestor` started, and those that they did, with their names. */
export function startedBy(ancestor: number): ReadonlyMap<number, string> {
  const found = new Map<number, { readonly parent: number; readonly name: string }>();
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const [, name = '', parent] = /\((.*)\) \S (\d+) /s.exec(read(`/proc/${pid}/stat`)) ?? [];
    if (parent !== undefined) found.set(Number(pid), { parent: Number(parent), name });
  }
  const descends = (pid: number): boolean => {
    const parent = found.get(pid)?.parent;
    return parent !== undefined && (parent === ancestor || descends(parent));
  };
  return new Map([...found].filter(([pid]) => descends(pid)).map(([pid, { name }]) => [pid, name]));
}

/** '' of a process that has just ended. */
function read(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Kills everything that this process started and ends it with `code`, whatever is waited for. */
export function endAll(code: number): never {
  for (const [pid, name] of startedBy(process.pid)) {
    if (name === KEEPER) continue;
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It ended meanwhile, or with one that was killed before it.
    }
  }
  process.exit(code);
}

/** Ends it all, as a failure, when this program is not over within `seconds`; SIGINT and SIGTERM end it all at once. */
export function bound(seconds: number): void {
  setTimeout(() => {
    console.error(`VIOLATION chaos: not over within ${seconds} s`);
    endAll(1);
  }, seconds * 1000).unref();
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => endAll(130));
}
