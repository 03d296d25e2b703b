// What a picture is of, written into the PNG itself: so that a test can tell one of a dashboard that has changed since.
import { crc32 } from 'node:zlib';
import type { Dashboard } from '../dashboard.ts';

/** The panels of a dashboard with their places, as they are written into its picture. */
export const labelFor = ({ panels }: Dashboard): string =>
  JSON.stringify(panels.map(({ title, gridPos: { x, y, w, h } }) => `${title} ${x} ${y} ${w} ${h}`));

/** Behind the signature and the header, which are as long in every PNG. */
const PLACE = 8 + 25;
const KEYWORD = 'Panels\0';

/** The PNG with a text chunk more (PNG 11.3.4.3); `label` in Latin-1. */
export function labelled(png: Buffer, label: string): Buffer {
  const typed = Buffer.from(`tEXt${KEYWORD}${label}`, 'latin1');
  const chunk = Buffer.alloc(typed.length + 8);
  chunk.writeUInt32BE(typed.length - 4);
  typed.copy(chunk, 4);
  chunk.writeUInt32BE(crc32(typed), typed.length + 4);
  return Buffer.concat([png.subarray(0, PLACE), chunk, png.subarray(PLACE)]);
}

/** The label of a PNG; undefined when it has none. */
export function labelOf(png: Buffer): string | undefined {
  const text = png.subarray(PLACE + 8, PLACE + 8 + png.readUInt32BE(PLACE)).toString('latin1');
  return text.startsWith(KEYWORD) ? text.slice(KEYWORD.length) : undefined;
}
