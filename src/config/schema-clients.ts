// The blocks of `clients` and `tiers`. Part of schema.ts, which alone is the schema.
import { z } from 'zod';
import { doc, name, oneOrMany, rate } from './fields.ts';

/** `clients.*`: a static record, without secrets. */
export const client = z.strictObject({
  id: z.string().min(1).meta(doc('Client id as the issuer writes it.')),
  issuer: name().meta(doc('Issuer block it belongs to.')),
  tier: name().optional().meta(doc('Tier for limits with tiers.')),
  limits: z
    .record(name(), oneOrMany(rate()))
    .prefault({})
    .meta(doc('Own rates, by limit name; they win over the tier.')),
  disabled: z.boolean().prefault(false).meta(doc('Refuse every token of this client.')),
});

/** `tiers.*`. */
export const tier = z.strictObject({
  scopes: z
    .array(z.string().regex(/^[\x21\x23-\x5b\x5d-\x7e]{1,128}$/, 'needs a scope: no spaces, quotes or backslashes'))
    .prefault([])
    .meta(doc('Scopes that a client of this tier may be given; each client may have fewer.')),
});
