// Keeps long-lived things (pools, key sets) over a reload while the settings they were made from stay the same.

/** A set of things by name, each made from settings whose text is `key`. */
export interface Reuse<T extends AsyncDisposable> extends AsyncDisposable {
  /**
   * Moves to `wanted`: what has the same name and key stays, the rest is opened; returns all by name. What is no longer
   * wanted is closed after `graceMs`, so that work under way can finish with it. When opening throws, nothing changes.
   */
  next(wanted: ReadonlyMap<string, { readonly key: string; open(): T }>): ReadonlyMap<string, T>;
}

/** Starts with nothing. */
export function reuse<T extends AsyncDisposable>(graceMs: number): Reuse<T> {
  let held = new Map<string, { key: string; value: T }>();
  const closing = new Set<T>();
  const close = async (value: T) => {
    closing.delete(value);
    await value[Symbol.asyncDispose]();
  };
  return {
    next(wanted) {
      const following = new Map<string, { key: string; value: T }>();
      for (const [name, { key, open }] of wanted) {
        const before = held.get(name);
        following.set(name, before?.key === key ? before : { key, value: open() });
      }
      for (const [name, before] of held) {
        if (following.get(name)?.value === before.value) continue;
        closing.add(before.value);
        setTimeout(() => closing.has(before.value) && void close(before.value), graceMs).unref();
      }
      held = following;
      return new Map([...held].map(([name, { value }]) => [name, value]));
    },
    async [Symbol.asyncDispose]() {
      const all = [...closing, ...[...held.values()].map(({ value }) => value)];
      held = new Map();
      await Promise.all(all.map(close));
    },
  };
}
