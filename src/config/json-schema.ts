// Generates what editors and readers use from the one schema and the one table of reasons: config/sidecar.schema.json,
// docs/configuration.md, docs/reasons.md and docs/audit-events.md. Run by `npm run schema`; tests compare the files with what this makes.
import { writeFileSync } from 'node:fs';
import { z } from 'zod';
import { auditEventsReference } from './audit-reference.ts';
import { reasonsReference } from './reasons-reference.ts';
import { configurationReference } from './reference.ts';
import { sidecarSchema } from './schema.ts';

/** The JSON Schema (2020-12) of sidecar.yaml as people write it, with defaults, doc lines and `reload` marks. */
export function sidecarJsonSchema(): string {
  const { $schema, ...schema } = z.toJSONSchema(sidecarSchema, { io: 'input' });
  const title = 'Doorward sidecar.yaml';
  return `${JSON.stringify({ $schema, title, ...schema }, null, 2)}\n`;
}

if (import.meta.main) {
  writeFileSync(new URL('../../config/sidecar.schema.json', import.meta.url), sidecarJsonSchema());
  writeFileSync(new URL('../../docs/configuration.md', import.meta.url), configurationReference());
  writeFileSync(new URL('../../docs/reasons.md', import.meta.url), reasonsReference());
  writeFileSync(new URL('../../docs/audit-events.md', import.meta.url), auditEventsReference());
}
