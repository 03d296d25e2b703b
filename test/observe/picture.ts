// Makes docs/pictures/dashboard.png: a real run of five minutes, scraped by a real Prometheus, and every panel of
// deploy/observe/dashboard.json drawn from what its own queries return. Run by hand: `node test/observe/picture.ts`.
import { mkdirSync, statSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ensureCamera } from '../support/system-packages.ts';
import { dashboard } from './dashboard.ts';
import { answersOf, emptyOnes, takePicture } from './picture/camera.ts';
import { startFleet } from './picture/fleet.ts';
import { STORY_S, tell } from './picture/story.ts';
import { startTraffic } from './picture/traffic.ts';
import { startPrometheus } from './prometheus.ts';

const SCRAPE_S = 2;
/** What Grafana makes of it: four scrapes. */
const RATE_INTERVAL = `${4 * SCRAPE_S}s`;
/** Before the picture begins: rates begin with their second scrape. */
const WARM_UP_MS = 12_000;
const png = fileURLToPath(new URL('../../docs/pictures/dashboard.png', import.meta.url));

ensureCamera();
await using fleet = await startFleet();
await using prometheus = await startPrometheus(
  fleet.replicas.map(({ observe }) => observe),
  SCRAPE_S,
);
// At a whole minute, so that times are read easily.
const storyAtMs = Math.ceil((Date.now() + WARM_UP_MS) / 60_000) * 60_000;
{
  await using traffic = startTraffic(fleet, storyAtMs);
  await tell(fleet, traffic, storyAtMs, console.log);
  console.log('answers by status:', Object.fromEntries(traffic.answers));
}
const startS = storyAtMs / 1000;
const range = { startS, endS: startS + STORY_S, stepS: SCRAPE_S };
const answers = await answersOf(dashboard, prometheus, range, RATE_INTERVAL);
mkdirSync(dirname(png), { recursive: true });
takePicture(dashboard, answers, range, `rates over ${RATE_INTERVAL}`, png);
console.log(`${png}: ${Math.round(statSync(png).size / 1000)} kB`);
const empty = emptyOnes(dashboard, answers);
if (empty.length > 0) {
  console.error(`no data:\n${empty.join('\n')}`);
  process.exitCode = 1;
}
