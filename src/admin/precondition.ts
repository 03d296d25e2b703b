// If-Match (RFC 9110 section 13.1.1): a change that was meant for one version of a thing does not fall on another.
import type { IncomingMessage } from 'node:http';
import { SidecarError } from '../core/errors.ts';
import { type Endpoint, preconditionFailed } from './endpoint.ts';

/**
 * The one entity tag of If-Match without its quotes; undefined without the field, or for `*`. Throws SidecarError: 400 for
 * anything but one strong tag or `*`, 412 where nothing has a version to match.
 */
export function ifMatchOf(request: IncomingMessage, { versioned = false }: Endpoint): string | undefined {
  const fields = request.headersDistinct['if-match'];
  if (fields === undefined) return undefined;
  const [field = ''] = fields;
  const tag = /^"([\x21\x23-\x7e]{1,128})"$/.exec(field)?.[1];
  if (fields.length > 1 || (tag === undefined && field !== '*')) {
    throw new SidecarError('malformed', 'header_malformed', 'If-Match needs one strong entity tag, or *');
  }
  if (tag !== undefined && !versioned) throw preconditionFailed('what this endpoint changes has no version');
  return tag;
}
