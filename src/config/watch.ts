// Notices when a file of the configuration has other content: an edit, an editor's rename, a rotated secret, the symlink
// swap of a Kubernetes ConfigMap. Directory events are only a nudge to look; a slow poll covers file systems without them.
// What counts is the content: the digests of loading are compared, so nothing is missed between loading and watching.
import { type FSWatcher, watch } from 'node:fs';
import { dirname } from 'node:path';
import { digestFile } from './fingerprint.ts';
import type { LoadedConfig } from './loaded.ts';

/** A running watch; disposing it waits for a notice under way. */
export interface ConfigWatch extends AsyncDisposable {
  /** Follows the files of another configuration from now on. */
  follow(loaded: LoadedConfig): void;
}

/** Times of the watch, in ms. */
export interface WatchTimes {
  /** Quiet time after an event before looking, so that one save is one notice. */
  readonly settleMs?: number;
  /** Time between looks without events. */
  readonly pollMs?: number;
}

/**
 * Calls `onChange` with the paths of files whose content has changed, one call at a time. A file that is missing is no
 * change until it is back. The watch never keeps the process alive. `onChange` must not throw.
 */
export function watchConfig(
  loaded: LoadedConfig,
  onChange: (files: readonly string[]) => void | Promise<void>,
  { settleMs = 100, pollMs = 2_000 }: WatchTimes = {},
): ConfigWatch {
  const seen = new Map<string, string>();
  const watchers = new Map<string, FSWatcher>();
  let settling: NodeJS.Timeout | undefined;
  let running: Promise<void> | undefined;
  let closed = false;

  const look = () => {
    if (closed || running) return;
    const changed = changedFiles(seen);
    if (changed.length === 0) return;
    running = Promise.resolve(onChange(changed)).finally(() => {
      running = undefined;
      nudge();
    });
  };
  const nudge = () => {
    if (closed) return;
    clearTimeout(settling);
    settling = setTimeout(look, settleMs).unref();
  };
  const follow = (next: LoadedConfig) => {
    // What was told already stays told: a refused file would otherwise be told again for ever.
    for (const file of seen.keys()) if (!next.digests.has(file)) seen.delete(file);
    for (const [file, digest] of next.digests) if (!seen.has(file)) seen.set(file, digest);
    if (!closed) watchFolders(watchers, new Set(next.watchedFiles.map((file) => dirname(file))), nudge);
  };
  const polling = setInterval(look, pollMs).unref();
  follow(loaded);
  return {
    follow,
    async [Symbol.asyncDispose]() {
      closed = true;
      clearInterval(polling);
      clearTimeout(settling);
      watchFolders(watchers, new Set(), nudge);
      await running;
    },
  };
}

/** Files with other content than last seen; what is seen now is remembered, so each content is told once. */
function changedFiles(seen: Map<string, string>): string[] {
  const changed: string[] = [];
  for (const [file, digest] of seen) {
    const now = digestFile(file);
    if (now === undefined || now === digest) continue;
    seen.set(file, now);
    changed.push(file);
  }
  return changed;
}

function watchFolders(watchers: Map<string, FSWatcher>, folders: ReadonlySet<string>, nudge: () => void): void {
  for (const [folder, watcher] of watchers) {
    if (folders.has(folder)) continue;
    watcher.close();
    watchers.delete(folder);
  }
  for (const folder of folders) {
    if (!watchers.has(folder)) watchFolder(watchers, folder, nudge);
  }
}

function watchFolder(watchers: Map<string, FSWatcher>, folder: string, nudge: () => void): void {
  try {
    const watcher = watch(folder, { persistent: false }, nudge);
    // A folder that goes away, or a machine out of inotify watches: the poll goes on alone.
    watcher.on('error', () => {
      watcher.close();
      watchers.delete(folder);
    });
    watchers.set(folder, watcher);
  } catch {
    watchers.delete(folder);
  }
}
