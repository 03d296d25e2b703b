// `doorward config show` and `config reload`, on a running sidecar. `check` is for files.
import type { Command } from 'commander';
import { type AdminOptions, callAdmin, withAdminOptions } from './admin-client.ts';
import type { Terminal } from './terminal.ts';

interface Shown {
  readonly yaml: string;
  readonly hash: string;
}
interface Reloaded {
  readonly changed: boolean;
  readonly restart_needed: readonly string[];
  readonly hash: string;
}

/** Adds the noun. */
export function addConfig(program: Command, terminal: Terminal): void {
  const config = program.command('config').description('the configuration in use');
  withAdminOptions(config.command('show'))
    .description('every value and where it came from; secrets are masked')
    .action(async (options: AdminOptions) => {
      const answer = (await callAdmin(options, terminal, { method: 'GET', path: '/v1/config' })) as Shown;
      terminal.out(options.json ? JSON.stringify(answer) : answer.yaml.trimEnd());
    });
  withAdminOptions(config.command('reload'))
    .description('load the file again; a bad one changes nothing')
    .action(async (options: AdminOptions) => {
      const answer = (await callAdmin(options, terminal, { method: 'POST', path: '/v1/config/reload' })) as Reloaded;
      if (options.json) return terminal.out(JSON.stringify(answer));
      terminal.out(answer.changed ? `reloaded, hash ${answer.hash}` : 'nothing has changed');
      for (const path of answer.restart_needed) terminal.out(`${path} waits for a restart`);
    });
}
