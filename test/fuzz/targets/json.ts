// parseStrictObject against a strict reader of its own kind: written by RFC 8259, one character at a time, and slow.
import assert from 'node:assert/strict';
import { isUtf8 } from 'node:buffer';
import { parseStrictObject } from '../../../src/core/strict-json.ts';
import type { Target } from '../engine.ts';

const REFUSED = Symbol('refused');

/** Reads by the letter of RFC 8259, refusing what strict-json.ts says it refuses. */
class Reader {
  #at = 0;
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  document(): unknown {
    const value = this.#value(0);
    this.#blank();
    if (this.#at < this.#text.length) throw REFUSED;
    return value;
  }

  #blank(): void {
    while (' \t\r\n'.includes(this.#text[this.#at] ?? 'x')) this.#at += 1;
  }

  #expect(char: string): void {
    this.#blank();
    if (this.#text[this.#at] !== char) throw REFUSED;
    this.#at += 1;
  }

  #next(char: string): boolean {
    this.#blank();
    if (this.#text[this.#at] !== char) return false;
    this.#at += 1;
    return true;
  }

  #value(depth: number): unknown {
    this.#blank();
    const char = this.#text[this.#at];
    if (char === '{') return this.#object(depth + 1);
    if (char === '[') return this.#array(depth + 1);
    if (char === '"') return this.#string();
    const word = /^(?:true|false|null|-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?)/.exec(
      this.#text.slice(this.#at),
    )?.[0];
    if (word === undefined) throw REFUSED;
    this.#at += word.length;
    return { true: true, false: false, null: null }[word] ?? (word === 'null' ? null : Number(word));
  }

  #object(depth: number): unknown {
    if (depth > 32) throw REFUSED;
    this.#at += 1;
    const members = new Map<string, unknown>();
    if (!this.#next('}')) {
      do {
        this.#blank();
        const start = this.#at;
        const name = this.#string();
        const isEscaped = this.#text.slice(start, this.#at).includes('\\');
        if (members.has(name) || name === '__proto__' || (isEscaped && /["\\\x00-\x1f]/.test(name))) throw REFUSED;
        this.#expect(':');
        members.set(name, this.#value(depth));
      } while (this.#next(','));
      this.#expect('}');
    }
    return Object.fromEntries(members);
  }

  #array(depth: number): unknown {
    if (depth > 32) throw REFUSED;
    this.#at += 1;
    const elements: unknown[] = [];
    if (!this.#next(']')) {
      do elements.push(this.#value(depth));
      while (this.#next(','));
      this.#expect(']');
    }
    return elements;
  }

  #string(): string {
    const found = /^"((?:[^"\\\x00-\x1f]|\\(?:["\\/bfnrt]|u[0-9A-Fa-f]{4}))*)"/.exec(this.#text.slice(this.#at));
    if (found === null) throw REFUSED;
    this.#at += found[0].length;
    const short: Readonly<Record<string, string>> = { b: '\b', f: '\f', n: '\n', r: '\r', t: '\t' };
    const text = (found[0].slice(1, -1) as string).replace(/\\(?:u(....)|(.))/g, (_, hex?: string, char?: string) =>
      hex === undefined ? (short[char as string] ?? (char as string)) : String.fromCharCode(Number.parseInt(hex, 16)),
    );
    if (!text.isWellFormed()) throw REFUSED;
    return text;
  }
}

/** What the reference makes of the bytes; undefined when they are refused. */
export function referenceObject(bytes: Buffer): unknown {
  if (!isUtf8(bytes)) return undefined;
  try {
    const value = new Reader(bytes.toString('utf8')).document();
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? value : undefined;
  } catch (error) {
    if (error === REFUSED) return undefined;
    throw error;
  }
}

/** The two readers must agree on every input. */
export const target: Target = {
  name: 'json',
  files: /src\/core\/strict-json/,
  seeds: [
    '{"a":1,"b":[true,null,-1.5e3,"x\\u0041\\n"],"c":{"d":{}}}',
    '{"a":1,"\\u0061":2}',
    '[]',
    '{}',
    '\ufeff{}',
    '{"\\u005f_proto__":1}',
  ],
  words: [
    '"a":',
    '\\u0061',
    '\\ud800',
    '\\"',
    '\\\\',
    '__proto__',
    '\\u005f',
    ',"a":1',
    '{"a":',
    '[',
    ']',
    'null',
    '1e999',
    '\xc3\xa9',
    '\xed\xa0\x80',
    '":"',
    '\\',
  ],
  maxBytes: 400,
  check(input) {
    const read = parseStrictObject(input);
    assert.deepEqual(read, referenceObject(input));
    assert.equal((Object.prototype as Record<string, unknown>).sub, undefined);
  },
};
