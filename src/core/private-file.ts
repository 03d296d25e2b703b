// Files that hold secrets: written whole or not at all, readable by us alone, never over one that is there.
import { closeSync, fsyncSync, linkSync, openSync, rmSync, writeSync } from 'node:fs';
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
