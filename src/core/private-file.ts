// Files that hold secrets: written whole or not at all, readable by us alone, never over one that is there; and their folders.
import { closeSync, existsSync, fsyncSync, linkSync, mkdirSync, openSync, rmSync, statSync, writeSync } from 'node:fs';
import { dirname } from 'node:path';
import { randomId } from './ids.ts';

/**
 * Creates `path` with mode 0600. Written under another name and linked in place, so that nobody ever reads half of it; of
 * two processes that race one wins, and the other's text is dropped: read the file afterwards. Throws the system's error.
 */
export function createPrivateFile(path: string, text: string): void {
  const draft = `${path}.${randomId()}`;
  const file = openSync(draft, 'wx', 0o600);
  try {
    writeSync(file, text);
    fsyncSync(file);
    linkSync(draft, path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error;
  } finally {
    closeSync(file);
    rmSync(draft, { force: true });
  }
}

/**
 * Makes the folder and what is missing above it with mode 0700; true when it was not there. Throws the system's error. Not
 * mkdir's `recursive`: Node never returns from it where a folder refuses new ones with ENOENT, as /proc does.
 */
export function makePrivateFolder(path: string): boolean {
  try {
    mkdirSync(path, { mode: 0o700 });
    return true;
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    if (code === 'EEXIST' && statSync(path).isDirectory()) return false;
    if (code !== 'ENOENT' || existsSync(dirname(path))) throw error;
  }
  makePrivateFolder(dirname(path));
  return makePrivateFolder(path);
}
