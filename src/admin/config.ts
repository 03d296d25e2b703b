// The configuration in use, and its reload, for operators. Loading and masking are config/.
import { parse } from 'yaml';
import { z } from 'zod';
import { ConfigRefused, endpoint } from './endpoint.ts';

/** GET /v1/config: `config` as JSON with secrets masked; `yaml` has where each value came from as comments. */
export const showConfig = endpoint({
  method: 'GET',
  path: '/v1/config',
  permission: 'config:read',
  answers: {
    200: z.strictObject({
      file: z.string(),
      hash: z.string(),
      config: z.record(z.string(), z.unknown()),
      yaml: z.string(),
    }),
  },
  summary: 'The effective configuration; secrets are masked.',
  handler: ({ config }) => {
    const yaml = config.print({ withSources: true });
    return { status: 200, body: { file: config.file, hash: config.hash(), config: parse(yaml), yaml } };
  },
});

/** POST /v1/config/reload: 200 with what changed, or 422 with every problem; the old one then stays in force. */
export const reloadConfig = endpoint({
  method: 'POST',
  path: '/v1/config/reload',
  permission: 'config:write',
  event: 'config.reloaded',
  body: z.strictObject({}),
  answers: {
    200: z.strictObject({ changed: z.boolean(), restart_needed: z.array(z.string()), hash: z.string() }),
  },
  refusals: ['config_refused'],
  summary: 'Load the file again.',
  handler: async ({ config }) => {
    const result = await config.reload();
    if (!result.ok) throw new ConfigRefused(result.problems);
    const { changed, restartNeeded } = result;
    const body = { changed, restart_needed: restartNeeded, hash: config.hash() };
    return { status: 200, body, audit: { changed, hash: body.hash } };
  },
});
