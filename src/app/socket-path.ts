// The state folder, and the admin socket's place in it: taken only when nobody answers there, so that a second start in the same state_dir never takes
// a running sidecar's socket away from its operators.
import { once } from 'node:events';
import { chmodSync, rmSync } from 'node:fs';
import { connect } from 'node:net';
import type { LoadedConfig } from '../config/loaded.ts';
import { SidecarError } from '../core/errors.ts';
import { makePrivateFolder } from '../core/private-file.ts';
import type { Log } from '../telemetry/log.ts';

/** sun_path holds 108 bytes with its NUL on Linux; longer ones would be cut in silence. */
const MAX_PATH_BYTES = 107;

/** Makes the state folder, for this user alone, and says what is odd about the configuration. Throws `misconfigured`. */
export function prepareStateDir(stateDir: string, { warnings }: LoadedConfig, log: Log): void {
  try {
    makePrivateFolder(stateDir);
    chmodSync(stateDir, 0o700);
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException;
    const message = `state_dir ${stateDir} cannot be used (${code}): it needs to be a folder of ours`;
    throw new SidecarError('misconfigured', 'not_configured', message, { cause });
  }
  for (const { message, place } of warnings) log.warn({ problem: message, place }, 'config_warning');
}

/** Makes room for a listener at `path`; throws `misconfigured` when it is too long or in use. */
export async function claimSocketPath(path: string): Promise<void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new SidecarError('misconfigured', 'not_configured', `state_dir is too long for a Unix socket (${path})`);
  }
  if (await answers(path)) {
    throw new SidecarError(
      'misconfigured',
      'not_configured',
      `another sidecar runs with this state_dir (${path} answers)`,
    );
  }
  rmSync(path, { force: true });
}

async function answers(path: string): Promise<boolean> {
  const socket = connect({ path });
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}
