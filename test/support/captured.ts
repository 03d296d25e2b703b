// Everything that a run wrote, to search it for its secrets in every spelling.
import assert from 'node:assert/strict';

/** Everything that was written, by where it was found. */
export class Captured {
  readonly #texts = new Map<string, string>();

  add(where: string, text: string): void {
    this.#texts.set(where, `${this.#texts.get(where) ?? ''}${text}\n`);
  }

  get(where: string): string {
    return this.#texts.get(where) ?? '';
  }

  /** Asserts that the secret stands nowhere, in no spelling. */
  assertWithout(name: string, secret: string): void {
    const bytes = Buffer.from(secret);
    const spellings = [
      secret,
      encodeURIComponent(secret),
      JSON.stringify(secret).slice(1, -1),
      bytes.toString('hex'),
      bytes.toString('base64').replace(/=*$/, '').slice(0, -1),
      bytes.toString('base64url').slice(0, -1),
    ];
    for (const [where, text] of this.#texts) {
      for (const spelling of spellings) assert.ok(!text.includes(spelling), `${name} stands in ${where}`);
    }
  }
}
