// The durable store of the model keeps PostgreSQL's contract: what the model shows holds with PostgreSQL.
import { durableRevocationsConformance } from '../conformance/durable-revocations.ts';
import { MemoryDurable } from './durable-memory.ts';

durableRevocationsConformance('memory', async () => {
  const store = new MemoryDurable();
  return {
    store,
    cut: async () => {
      store.away = true;
    },
    [Symbol.asyncDispose]: async () => undefined,
  };
});
