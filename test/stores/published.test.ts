import { MemoryPublished } from '../../src/stores/memory/published.ts';
import { publishedStoreConformance } from '../conformance/published.ts';

publishedStoreConformance('memory', async () => {
  const store = new MemoryPublished();
  return { store, other: store, [Symbol.asyncDispose]: async () => undefined };
});
