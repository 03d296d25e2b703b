// Settings of OpenTelemetry traces: where spans go, which requests have them, and whose trace context is believed.
import { z } from 'zod';
import { doc, duration, secret } from './fields.ts';

const ENDPOINT_FORM =
  'needs an http:// or https:// URL without user, query and fragment, such as http://127.0.0.1:4318';

const isEndpoint = (text: string): boolean => {
  const url = URL.parse(text);
  if (url === null || !/^https?:$/.test(url.protocol)) return false;
  return url.username === '' && url.password === '' && url.search === '' && url.hash === '';
};

/** The block `tracing`. */
export const tracing = z.strictObject({
  endpoint: z
    .string({ error: ENDPOINT_FORM })
    .refine(isEndpoint, ENDPOINT_FORM)
    .meta(doc('OTLP/HTTP of the collector; without a path it is /v1/traces. Spans go there as JSON.')),
  headers: z
    .record(z.string().regex(/^[!#$%&'*+.^_`|~0-9A-Za-z-]+$/, 'needs a header name'), secret())
    .prefault({})
    .meta(doc('Headers for the collector, such as Authorization.')),
  tls: z
    .strictObject({ ca: secret().optional().meta(doc('PEM of the only CA to trust.')) })
    .optional()
    .meta(doc('TLS to an https:// collector.')),
  ratio: z
    .number()
    .min(0)
    .max(1)
    .prefault(0.01)
    .meta(doc('Share of requests traced, of those for which nobody who is believed has decided.')),
  believe: z
    .enum(['nobody', 'trusted_proxies', 'everyone_ids', 'everyone'])
    .prefault('trusted_proxies')
    .meta(
      doc(
        'Whose traceparent is continued, and its sampled flag followed; others begin a new trace. everyone_ids: all are continued, the flag counts from trusted proxies only. everyone: any client can have all its requests traced.',
      ),
    ),
  service: z.string().min(1).max(255).optional().meta(doc('service.name of the spans; default `name`, then doorward.')),
  attributes: z
    .record(z.string().min(1).max(255), z.string().max(1024))
    .prefault({})
    .meta(doc('More about this replica, such as {deployment.environment.name: production}.')),
  queue: z
    .int()
    .min(64)
    .max(100_000)
    .prefault(2048)
    .meta(doc('Spans held for the collector, per process; what comes while it is full is counted and dropped.')),
  timeout: duration().prefault('5s').meta(doc('Longest that one message to the collector may take.')),
});

/** The validated block. */
export type TracingConfig = z.output<typeof tracing>;
