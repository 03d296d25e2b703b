// Programs that tests need from the system: found on the PATH, or installed with apt-get.
import { spawnSync } from 'node:child_process';

/** Makes sure that `command` answers to `versionFlag`; throws with the command to type when it cannot be installed. */
export function ensureCommand(command: string, versionFlag: string, systemPackage: string = command): void {
  const found = () => spawnSync(command, [versionFlag]).status === 0;
  if (found()) return;
  console.error(`${command} is missing`);
  installPackage(systemPackage);
  if (found()) return;
  throw new Error(`${command} is needed: install it (apt-get install ${systemPackage}) and run again`);
}

/** Installs a package of the system with apt-get; whether that worked is for the caller to find out. */
export function installPackage(systemPackage: string): void {
  console.error(`installing ${systemPackage} with apt-get`);
  const env = { ...process.env, DEBIAN_FRONTEND: 'noninteractive' };
  const run = (...args: string[]) => spawnSync('apt-get', args, { stdio: 'inherit', env });
  run('update', '-qq');
  run('install', '-y', '-qq', systemPackage);
}
