// The check of `doorward doctor` that needs two runs: what was counted before a restart is there after it. The counts wait in a
// file of the operator's; nothing in it is secret.
import { readFileSync, writeFileSync } from 'node:fs';
import { z } from 'zod';
import { type DoctorCheck, type DoctorWorld, expect } from './doctor-world.ts';
import { CliError } from './exit-codes.ts';

const notes = z.strictObject({
  version: z.literal(1),
  noted_at: z.string(),
  /** When the replica that was asked had been started. */
  started_at: z.string(),
  counts: z.strictObject({ clients: z.int().min(0), operators: z.int().min(0) }),
});
type Notes = z.output<typeof notes>;

interface Statistics {
  readonly at: string;
  readonly clients: readonly { readonly clients: number }[];
  readonly operators: readonly { readonly operators: number }[];
}

/** The check over this file: the first run notes, a run after a restart compares and notes anew. */
export function countsCheck(file: string): DoctorCheck {
  return {
    name: 'clients and operators outlive a restart',
    run: async (world) => {
      const before = readNotes(file);
      const now = await notesOf(world);
      if (before !== undefined) requireKept(before, now);
      keepNotes(file, now);
      const { clients, operators } = now.counts;
      return before === undefined
        ? `${clients} clients and ${operators} operators noted in ${file}; restart, and run this again`
        : `${clients} clients and ${operators} operators, as noted at ${before.noted_at}`;
    },
  };
}

function requireKept(before: Notes, now: Notes): void {
  expect(before.started_at !== now.started_at, `there was no restart since ${before.started_at}`);
  for (const what of ['clients', 'operators'] as const) {
    const [had, has] = [before.counts[what], now.counts[what]];
    expect(had === has, `${what}: ${had} before the restart, ${has} after it`);
  }
}

async function notesOf(world: DoctorWorld): Promise<Notes> {
  const { at, clients, operators } = (await world.ask('GET', '/v1/statistics')) as Statistics;
  const { started_at } = (await world.ask('GET', '/v1/status')) as { started_at: string };
  const sum = (figures: readonly number[]) => figures.reduce((all, figure) => all + figure, 0);
  const counts = {
    clients: sum(clients.map((row) => row.clients)),
    operators: sum(operators.map((row) => row.operators)),
  };
  return { version: 1, noted_at: at, started_at, counts };
}

function keepNotes(file: string, now: Notes): void {
  try {
    writeFileSync(file, `${JSON.stringify(now, undefined, 2)}\n`);
  } catch (cause) {
    throw new CliError('usage', `${file} cannot be written`, { cause });
  }
}

/** Undefined where there is no file yet; anything else that cannot be read is a mistake of the caller. */
function readNotes(file: string): Notes | undefined {
  try {
    return notes.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined;
    throw new CliError('usage', `${file} holds no counts of doctor`, { cause });
  }
}
