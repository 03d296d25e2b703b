// The path rows of Envoy, Istio, Traefik, nginx, heimdall and HAProxy. Doorward claims none of their normalisations: a path
// is refused, or goes upstream byte for byte. What is claimed of every row, whatever its profile:
// - a row that must be rejected, or that holds a dot segment, is refused;
// - nothing else is refused than what shows a reason to (a dot segment in any decoding, a fragment, a backslash, a control,
//   a malformed escape, neither origin-form nor absolute-form);
// - what is not refused has no dot segment under the profile's reading, and that reading is one of those that must lead to
//   the same policy (`otherReadings`), so that an upstream which normalises serves what was judged;
// - on the wire the upstream gets the very bytes, or nothing.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { otherReadings, readTarget } from '../../src/http/canonical.ts';
import { assertDeviations, corpora, type Judged, type Row, rowsOf, split } from '../support/corpora.ts';
import { sendRaw } from '../support/raw-client.ts';
import { recordingUpstream } from '../support/recording-upstream.ts';
import { startSidecar } from '../support/sidecar.ts';

interface PathRow extends Row {
  readonly profile: string;
  readonly input: { readonly path: string };
  readonly expect: { readonly normalized?: string; readonly reject?: boolean; readonly has_dot_segments?: boolean };
}

const decode = (text: string) =>
  text.replace(/%([0-9A-Fa-f]{2})/g, (_whole, hex: string) => String.fromCharCode(Number.parseInt(hex, 16)));
const pathOf = (target: string) => target.split(/[?#]/)[0] as string;

/** A target in absolute form goes upstream in origin form. */
function originForm(target: string): string {
  const rest = target.replace(/^https?:\/\/[^/?]*/, '');
  return rest.startsWith('/') ? rest : `/${rest}`;
}

/** Written anew, not with the code under test: why a target may be refused. */
function reasonToRefuse(target: string): string | undefined {
  if (!/^(?:\/|https?:)/.test(target)) return 'neither origin-form nor absolute-form';
  if (/[#\\]|[^\x21-\x7e]/.test(target)) return 'fragment, backslash, control or non-ASCII';
  const path = pathOf(target);
  if (/%(?![0-9A-Fa-f]{2})/.test(path)) return 'malformed escape';
  let reading = path;
  for (let round = 0; round < 4; round += 1) {
    if (/[\0\\]/.test(reading)) return 'encoded NUL or backslash';
    if (/\xc0[\xae\xaf]|\xc1\x9c/.test(reading)) return 'overlong UTF-8';
    if (reading.split('/').some((segment) => /^\.{1,2}(?:;|$)/.test(segment))) return 'dot segment';
    reading = decode(reading);
  }
  return undefined;
}

/** What is wrong with how a row is read; undefined when nothing is. */
function problemWith({ input, expect }: PathRow): string | undefined {
  const target = readTarget(input.path);
  const readings = target && otherReadings(target.path);
  const mustRefuse = expect.reject === true || expect.has_dot_segments === true;
  if (target === undefined || readings === undefined) {
    return mustRefuse || reasonToRefuse(input.path) !== undefined ? undefined : 'refused without a reason';
  }
  if (mustRefuse) return 'accepted';
  if (target.path + target.query !== originForm(input.path)) return 'changed';
  if (expect.normalized === undefined) return undefined;
  const normalized = pathOf(expect.normalized);
  if (
    decode(normalized)
      .split('/')
      .some((segment) => segment === '.' || segment === '..')
  )
    return 'dot segment';
  const judged = [target.path, ...readings];
  return judged.includes(normalized) || judged.includes(decode(normalized)) ? undefined : `not judged: ${normalized}`;
}

if (corpora === undefined) {
  test('the corpora are not beside this repository (../shared/corpora), so none was run', () => {});
} else {
  const rows = rowsOf<PathRow>('path-normalization');

  test('a path is refused, or every reading of it under any profile is one that was judged', () => {
    const deviations = rows.flatMap((row): Judged[] => {
      const why = problemWith(row);
      return why === undefined ? [] : [{ id: row.id, verdict: 'FAIL', why: `${row.input.path}: ${why}` }];
    });
    assertDeviations('path-normalization', deviations);
    assert.equal(rows.length, 521);
  });

  test('a path that is not refused arrives upstream byte for byte, and of a refused one the upstream sees nothing', async () => {
    await using upstream = await recordingUpstream();
    await using sidecar = await startSidecar(upstream.url, {
      routes: {
        all: { match: { prefix: '/' }, auth: 'none', relax: ['encoded_slash', 'double_slash', 'double_encoding'] },
      },
    });
    const wrong: string[] = [];
    const ask = async ({ id, input }: PathRow) => {
      const fields = `Host: corpora.test\r\nX-Row: ${id}\r\nConnection: close`;
      const { responses } = await sendRaw(sidecar.port, `GET ${input.path} HTTP/1.1\r\n${fields}\r\n\r\n`);
      const status = responses[0]?.status;
      const seen = upstream.seen.filter(({ headers }) => headers['x-row'] === id).map(({ url }) => url);
      const wanted = status === 200 ? [input.path] : [];
      if ((status !== 200 && status !== 400) || seen.join('\n') !== wanted.join('\n')) {
        wrong.push(`${id} ${input.path}: ${status}, upstream saw ${JSON.stringify(seen)}`);
      }
    };
    await Promise.all(
      split(rows, 8).map(async (part) => {
        for (const row of part) await ask(row);
      }),
    );
    assert.deepEqual(wrong, []);
    assert.ok(upstream.seen.length > 300, `${upstream.seen.length} of ${rows.length} arrived`);
  });
}
