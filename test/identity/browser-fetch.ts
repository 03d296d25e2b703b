// What the Fetch standard makes of a page's request to another origin: a preflight where one is due, the answer only where the
// server lets the page read it, and no more of its fields than that. Node's own fetch asks nobody.

const SIMPLE_TYPES = ['application/x-www-form-urlencoded', 'multipart/form-data', 'text/plain'];
const SIMPLE_FIELDS = ['accept', 'accept-language', 'content-language', 'content-type'];
const READABLE = ['cache-control', 'content-language', 'content-length', 'content-type', 'expires', 'last-modified'];

/** A page's fetch, and how often it asked beforehand. */
export interface PageFetch {
  readonly fetch: typeof fetch;
  preflights(): number;
}

/** The browser refused: to the page every cause looks alike. */
const blocked = (why: string) => new TypeError(`Failed to fetch: ${why}`);
const words = (text: string | null) => (text ?? '').split(',').map((word) => word.trim().toLowerCase());

/** `fetch` as a page of this origin has it. */
export function pageFetch(origin: string): PageFetch {
  let preflights = 0;
  const mayRead = (answer: Response) => {
    const allowed = answer.headers.get('access-control-allow-origin');
    return allowed === origin || allowed === '*';
  };
  const preflight = async (request: Request, unsafe: readonly string[]) => {
    preflights += 1;
    const asked = { origin, 'access-control-request-method': request.method };
    const fields = unsafe.length === 0 ? asked : { ...asked, 'access-control-request-headers': unsafe.join(',') };
    const answer = await fetch(request.url, { method: 'OPTIONS', headers: fields });
    if (!answer.ok || !mayRead(answer)) throw blocked('preflight refused');
    const methods = words(answer.headers.get('access-control-allow-methods'));
    const isSimple = ['GET', 'HEAD', 'POST'].includes(request.method);
    if (!isSimple && !methods.includes(request.method.toLowerCase())) throw blocked('method not allowed');
    const names = words(answer.headers.get('access-control-allow-headers'));
    // A star does not stand for Authorization.
    for (const name of unsafe) {
      if (!names.includes(name) && (name === 'authorization' || !names.includes('*')))
        throw blocked(`${name} not allowed`);
    }
  };
  return {
    preflights: () => preflights,
    fetch: async (input, init) => {
      const request = new Request(input, init);
      // A page cannot set its user agent.
      request.headers.delete('user-agent');
      const unsafe = [...request.headers.keys()].filter((name) => !isSimpleField(name, request.headers)).sort();
      if (unsafe.length > 0 || !['GET', 'HEAD', 'POST'].includes(request.method)) await preflight(request, unsafe);
      request.headers.set('origin', origin);
      const answer = await fetch(request);
      if (!mayRead(answer)) {
        await answer.body?.cancel();
        throw blocked('the answer may not be read');
      }
      const readable = [...READABLE, ...words(answer.headers.get('access-control-expose-headers'))];
      const headers = [...answer.headers].filter(([name]) => readable.includes(name));
      return new Response(answer.body, { status: answer.status, headers });
    },
  };
}

function isSimpleField(name: string, headers: Headers): boolean {
  if (!SIMPLE_FIELDS.includes(name)) return false;
  return name !== 'content-type' || SIMPLE_TYPES.includes((headers.get(name) ?? '').split(';', 1)[0] as string);
}
