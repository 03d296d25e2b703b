// Few texts that stand in many records (issuers, reasons): each is kept once and named by a number while it is used.

/** Texts and their numbers, counted. */
export class Interned {
  readonly #numbers = new Map<string, number>();
  readonly #texts: (string | undefined)[] = [];
  readonly #uses: number[] = [];
  readonly #free: number[] = [];

  /** The number of a text in use; undefined for others. */
  numberOf(text: string): number | undefined {
    return this.#numbers.get(text);
  }

  /** The text of a number in use. */
  textOf(number: number): string {
    return this.#texts[number] as string;
  }

  /** Counts one more use and answers the number. */
  take(text: string): number {
    let number = this.#numbers.get(text);
    if (number === undefined) {
      number = this.#free.pop() ?? this.#texts.length;
      this.#numbers.set(text, number);
      this.#texts[number] = text;
      this.#uses[number] = 0;
    }
    this.#uses[number] = (this.#uses[number] as number) + 1;
    return number;
  }

  /** Counts one use less; the number of the last one may be given to another text. */
  release(number: number): void {
    const left = (this.#uses[number] as number) - 1;
    this.#uses[number] = left;
    if (left > 0) return;
    this.#numbers.delete(this.#texts[number] as string);
    this.#texts[number] = undefined;
    this.#free.push(number);
  }
}
