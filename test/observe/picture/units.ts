// Values and axes in the units of the dashboard, spelled as Grafana spells them. A unit that is not here is refused: the picture
// would say something else than Grafana.

interface Unit {
  /** Steps that an axis may have, up to ten of the largest power; powers of `base` follow by themselves. */
  readonly steps: readonly number[];
  readonly base: number;
  /** Values from `from` on are shown in this scale; ascending. */
  readonly scales: readonly { readonly from: number; readonly text: string }[];
  /** What a value of 1 is shown as. */
  readonly factor?: number;
}

const DECIMAL = { base: 10, steps: [1, 2, 2.5, 5] };
const thousands = (suffix: string): Unit => ({
  ...DECIMAL,
  scales: ['', 'K', 'M', 'B'].map((text, at) => ({ from: 1000 ** at, text: `${text}${suffix}` })),
});
const SECONDS: Unit['scales'] = [
  ...[1e-9, 1e-6, 1e-3, 1].map((from, at) => ({ from, text: [' ns', ' µs', ' ms', ' s'][at] as string })),
  { from: 60, text: ' min' },
  { from: 3600, text: ' hour' },
  { from: 86_400, text: ' day' },
  { from: 604_800, text: ' week' },
];

const units: Readonly<Record<string, Unit>> = {
  short: { ...DECIMAL, scales: ['', ' K', ' Mil', ' Bil'].map((text, at) => ({ from: 1000 ** at, text })) },
  reqps: thousands(' req/s'),
  cps: thousands(' c/s'),
  percentunit: { ...DECIMAL, factor: 100, scales: [{ from: 1, text: '%' }] },
  bytes: {
    base: 2,
    steps: [1],
    scales: [' B', ' KiB', ' MiB', ' GiB'].map((text, at) => ({ from: 1024 ** at, text })),
  },
  s: { ...DECIMAL, scales: SECONDS },
};

/** Steps of a time axis above a second, where tens do not fit. */
const TIMES = [1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 21_600, 43_200, 86_400, 172_800, 604_800];

function unitNamed(name: string): Unit {
  const unit = units[name];
  if (unit === undefined) throw new TypeError(`a unit that the picture does not know: ${name}`);
  return unit;
}

/** A value as Grafana writes it. Throws TypeError for an unknown unit. */
export function formatted(value: number, name: string): string {
  const { scales, factor = 1 } = unitNamed(name);
  const shown = value * factor;
  // What stands for 0 is the scale of 1: 0 s, 0 B.
  const scale = shown === 0 ? scales.find(({ from }) => from === 1) : scales.findLast(({ from }) => from <= shown);
  const { from, text } = scale ?? (scales[0] as Unit['scales'][number]);
  return `${Number((shown / from).toPrecision(4))}${text}`;
}

/** Where an axis ends, and what it is labelled with. */
export interface Axis {
  readonly max: number;
  readonly ticks: readonly { readonly at: number; readonly text: string }[];
}

/** An axis from 0 that holds `largest`, with about four lines; with `decimals` 0 only on whole values. */
export function axisTo(largest: number, name: string, decimals?: number): Axis {
  const { factor = 1 } = unitNamed(name);
  const top = largest > 0 ? largest * 1.08 : 1;
  const wanted = (top * factor) / 4;
  const step = Math.max(stepFor(wanted, name), decimals === 0 ? 1 : 0) / factor;
  const ticks = Array.from({ length: Math.floor(top / step + 1e-9) + 1 }, (_, at) => at * step);
  return { max: top, ticks: ticks.map((at) => ({ at, text: formatted(at, name) })) };
}

/** The least step that is not below `wanted`. */
function stepFor(wanted: number, name: string): number {
  const { base, steps } = unitNamed(name);
  if (name === 's' && wanted > 1) return TIMES.find((step) => step >= wanted) ?? Math.ceil(wanted / 604_800) * 604_800;
  const power = base ** Math.floor(Math.log(wanted) / Math.log(base) + 1e-9);
  return (steps.find((step) => step * power >= wanted * 0.999) ?? base) * power;
}
