// The local spool: events lie in an append-only file of state_dir until PostgreSQL has them, so that none is lost when the
// process is killed or PostgreSQL is away. One file per segment, mode 0600; frames of length, CRC-32 and JSON. Details stand
// in clear for that short time: the same folder holds the operator token, and details hold no secrets.
import { closeSync, fdatasync, ftruncateSync, openSync, readdirSync, readFileSync, rmSync, write } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { crc32 } from 'node:zlib';
import { randomId } from '../core/ids.ts';
import { makePrivateFolder } from '../core/private-file.ts';
import type { AuditRecord } from '../stores/contracts/audit.ts';
import type { ChainedEvent } from './chain.ts';

const sync = promisify(fdatasync);
const writeFile = promisify(write);
const HEAD_BYTES = 8;
const SEGMENT_BYTES = 1024 * 1024;
const SUFFIX = '.spool';

/** The bytes of an event in the spool. */
export function frameOf({ record, details }: ChainedEvent): Buffer {
  const payload = Buffer.from(JSON.stringify({ record, details: details?.toString('base64url') }));
  const frame = Buffer.alloc(HEAD_BYTES + payload.length);
  frame.writeUInt32BE(payload.length, 0);
  frame.writeUInt32BE(crc32(payload), 4);
  payload.copy(frame, HEAD_BYTES);
  return frame;
}

/** The events of a file, up to the first frame that is cut off or broken: a crash leaves at most one such, at the end. */
export function readFrames(bytes: Buffer): ChainedEvent[] {
  const events: ChainedEvent[] = [];
  for (let at = 0; at + HEAD_BYTES <= bytes.length; ) {
    const end = at + HEAD_BYTES + bytes.readUInt32BE(at);
    const payload = bytes.subarray(at + HEAD_BYTES, end);
    if (end > bytes.length || crc32(payload) !== bytes.readUInt32BE(at + 4)) break;
    const { record, details } = JSON.parse(payload.toString()) as { record: AuditRecord; details?: string };
    events.push({ record, details: details === undefined ? undefined : Buffer.from(details, 'base64url') });
    at = end;
  }
  return events;
}

/** A file of an earlier process with events that may not have reached PostgreSQL. */
export interface OrphanedSpool {
  readonly events: readonly ChainedEvent[];
  /** Once all its events are stored. */
  remove(): void;
}

/** The spool of this process. Appends come one at a time; the caller groups. */
export class Spool implements Disposable {
  readonly #folder: string;
  readonly #name = randomId();
  #segment = 0;
  #bytes = 0;
  #file: number;

  /** Makes the folder (mode 0700) and the first file. Throws the system's error. */
  constructor(folder: string) {
    makePrivateFolder(folder);
    this.#folder = folder;
    this.#file = this.#open(0);
  }

  /** Number of the file that the next append goes to. */
  get segment(): number {
    return this.#segment;
  }

  /** Resolves once the frames are on the disk (fdatasync): they survive the machine, too. Rejects with the system's error. */
  async append(frames: readonly Buffer[]): Promise<void> {
    if (this.#bytes >= SEGMENT_BYTES) this.#next();
    const bytes = Buffer.concat(frames);
    const before = this.#bytes;
    try {
      for (let at = 0; at < bytes.length; ) at += (await writeFile(this.#file, bytes, at)).bytesWritten;
      await sync(this.#file);
      this.#bytes = before + bytes.length;
    } catch (error) {
      // Half a frame in the middle would hide every later one from the reader.
      ftruncateSync(this.#file, before);
      throw error;
    }
  }

  /** Drops the files before `segment`; with `all` empties the present one too. Only when all their events are stored. */
  forget(segment: number, all: boolean): void {
    for (let at = segment - 1; at >= 0; at -= 1) {
      const path = this.#path(at);
      if (!readdirSync(this.#folder).includes(path.slice(this.#folder.length + 1))) break;
      rmSync(path, { force: true });
    }
    if (!all || this.#bytes === 0) return;
    ftruncateSync(this.#file, 0);
    this.#bytes = 0;
  }

  /** Files of earlier processes. Only for the process that owns the state folder: nobody else may be writing to them. */
  orphans(): OrphanedSpool[] {
    const paths = readdirSync(this.#folder)
      .filter((name) => name.endsWith(SUFFIX) && !name.startsWith(`${this.#name}.`))
      .sort()
      .map((name) => join(this.#folder, name));
    return paths.map((path) => ({
      events: readFrames(readFileSync(path)),
      remove: () => rmSync(path, { force: true }),
    }));
  }

  /** Closes the file; removes it when nothing is in it. */
  [Symbol.dispose](): void {
    closeSync(this.#file);
    if (this.#bytes === 0) rmSync(this.#path(this.#segment), { force: true });
  }

  #next(): void {
    // First the new one: where the disk has no place for it, the present one has to stay open, or nothing could be written ever after.
    const next = this.#open(this.#segment + 1);
    closeSync(this.#file);
    this.#segment += 1;
    this.#file = next;
    this.#bytes = 0;
  }

  // Not under one name with the writer: a chain may be renewed while the file goes on.
  #open = (segment: number): number => openSync(this.#path(segment), 'ax', 0o600);
  #path = (segment: number): string => join(this.#folder, `${this.#name}.${String(segment).padStart(8, '0')}${SUFFIX}`);
}
