// A line chart over training steps with interval bands, gaps where a value is undefined, and labels at the lines.

import { useState } from "preact/hooks";
import { linear, type Scale, spreadApart, useWidth } from "./chart.tsx";
import { count, range } from "./format.ts";

const LEFT = 46; // room for the tick labels of the vertical axis
const MOVED = 3; // pixels beyond which a line leads from a curve to its label

export interface LinePoint {
  x: number;
  y: number | null;
  low?: number | null;
  high?: number | null;
}

export interface Line {
  name: string;
  end?: string; // the label at the line's end, where it is not the name
  points: LinePoint[];
  colour: string;
  dash?: string;
  weight?: number;
}

interface LinesProps {
  lines: Line[];
  label: string;
  yTitle: string;
  xTitle?: string;
  point?: string; // what a reading calls its place
  write: (value: number) => string;
  writeTick?: (value: number) => string;
  domain: [number, number];
  height?: number;
  margin?: number;
}

/** The chart; `label` is its accessible name. */
export function Lines(props: LinesProps) {
  const { lines, domain, height = 250, margin = 64, xTitle = "training step" } = props;
  const [ref, width] = useWidth<HTMLDivElement>(480);
  const [at, setAt] = useState<number | null>(null);
  const steps = [...new Set(lines.flatMap((line) => line.points.map((point) => point.x)))].sort(
    (a, b) => a - b,
  );
  const x = linear([steps[0] ?? 0, steps.at(-1) ?? 1], [LEFT, width - margin], width < 420 ? 3 : 5);
  const y = linear(domain, [height - 38, 22], 4);
  const nearest = (pixel: number) =>
    steps.reduce(
      (best, step) => (Math.abs(x(step) - pixel) < Math.abs(x(best) - pixel) ? step : best),
      steps[0]!,
    );
  return (
    <div ref={ref} class="chart">
      <svg
        role="img"
        aria-label={props.label}
        width={width}
        height={height}
        onPointerMove={(event) => setAt(nearest(event.offsetX))}
        onPointerLeave={() => setAt(null)}
      >
        <Frame x={x} y={y} {...props} width={width} height={height} margin={margin} xTitle={xTitle} />
        {lines.map((line) => (
          <Band key={line.name} line={line} x={x} y={y} />
        ))}
        {lines.map((line) => (
          <Stroke key={line.name} line={line} x={x} y={y} />
        ))}
        <EndLabels lines={lines} x={x} y={y} low={30} high={height - 40} />
        {at !== null && <Reading {...props} at={at} x={x} y={y} width={width} height={height} />}
      </svg>
    </div>
  );
}

interface FrameProps extends LinesProps {
  x: Scale;
  y: Scale;
  width: number;
  height: number;
  margin: number;
  xTitle: string;
}

function Frame({ x, y, width, height, margin, yTitle, xTitle, write, writeTick = write }: FrameProps) {
  return (
    <g class="frame">
      <text x={0} y={11} class="title">
        {yTitle}
      </text>
      {y.ticks.map((tick) => (
        <g key={tick}>
          <line x1={LEFT} x2={width - margin} y1={y(tick)} y2={y(tick)} class="grid" />
          <text x={LEFT - 6} y={y(tick) + 4} text-anchor="end">
            {writeTick(tick)}
          </text>
        </g>
      ))}
      {x.ticks.filter(Number.isInteger).map((tick) => (
        <text key={tick} x={x(tick)} y={height - 20} text-anchor="middle">
          {count(tick)}
        </text>
      ))}
      <text x={(LEFT + width - margin) / 2} y={height - 3} text-anchor="middle" class="title">
        {xTitle}
      </text>
    </g>
  );
}

interface LayerProps {
  line: Line;
  x: Scale;
  y: Scale;
}

/** Stretches of neighbouring points that are all defined. */
export function stretches(points: readonly LinePoint[]): (LinePoint & { y: number })[][] {
  const found: (LinePoint & { y: number })[][] = [[]];
  for (const point of points) {
    if (point.y === null) found.push([]);
    else found.at(-1)!.push({ ...point, y: point.y });
  }
  return found.filter((stretch) => stretch.length > 0);
}

function Band({ line, x, y }: LayerProps) {
  const corners = (points: LinePoint[], end: "low" | "high") =>
    points.map((point) => `${x(point.x).toFixed(1)},${y(point[end] ?? point.y!).toFixed(1)}`);
  return (
    <g>
      {stretches(line.points).map((part) => (
        <polygon
          key={part[0]!.x}
          points={[...corners(part, "high"), ...corners(part.toReversed(), "low")].join(" ")}
          fill={line.colour}
          class="band"
        />
      ))}
    </g>
  );
}

function Stroke({ line, x, y }: LayerProps) {
  const weight = line.weight ?? 1.6;
  return (
    <g stroke={line.colour} fill="none" stroke-width={weight}>
      {stretches(line.points).map((part) =>
        part.length > 1 ? (
          <polyline
            key={part[0]!.x}
            points={part.map((point) => `${x(point.x).toFixed(1)},${y(point.y).toFixed(1)}`).join(" ")}
            stroke-dasharray={line.dash}
            stroke-linejoin="round"
          />
        ) : (
          <circle key={part[0]!.x} cx={x(part[0]!.x)} cy={y(part[0]!.y)} r={weight} fill={line.colour} />
        ),
      )}
    </g>
  );
}

function EndLabels({
  lines,
  x,
  y,
  low,
  high,
}: {
  lines: Line[];
  x: Scale;
  y: Scale;
  low: number;
  high: number;
}) {
  const ends = lines.flatMap((line) => {
    const end = line.points.findLast((point) => point.y !== null);
    return end && line.end !== "" ? [{ line, x: x(end.x), y: y(end.y!) }] : [];
  });
  const placed = spreadApart(
    ends.map((end) => end.y),
    14,
    low,
    high,
  );
  const moved = placed.some((place, i) => Math.abs(place - ends[i]!.y) > MOVED);
  return (
    <g>
      {ends.map((end, i) => (
        <g key={end.line.name}>
          {moved && (
            <line x1={end.x + 3} x2={end.x + 12} y1={end.y} y2={placed[i]} stroke={end.line.colour} />
          )}
          <text x={end.x + (moved ? 15 : 7)} y={placed[i]! + 4} fill={lettering(end.line)} class="end">
            {end.line.end ?? end.line.name}
          </text>
        </g>
      ))}
    </g>
  );
}

/** A line's colour, dark enough to read. */
function lettering({ colour }: Line): string {
  return `color-mix(in oklab, ${colour} 40%, var(--ink))`;
}

interface ReadingProps extends LinesProps {
  at: number;
  x: Scale;
  y: Scale;
  width: number;
  height: number;
}

/** The values under the pointer. */
function Reading({ lines, at, x, y, width, height, write, point = "step" }: ReadingProps) {
  const found = lines.flatMap((line) => {
    const point = line.points.find((candidate) => candidate.x === at);
    return point && point.y !== null ? [{ line, value: point.y, ends: endsOf(point, write) }] : [];
  });
  const left = x(at) > width / 2;
  const longest = Math.max(
    8,
    ...found.map(({ line, value, ends }) => `${line.name} ${write(value)} ${ends}`.length),
  );
  const [boxWidth, boxHeight] = [24 + 6.3 * longest, 20 + 15 * found.length];
  const corner = Math.max(0, left ? x(at) - boxWidth - 10 : Math.min(x(at) + 10, width - boxWidth));
  return (
    <g class="reading">
      <line x1={x(at)} x2={x(at)} y1={22} y2={height - 38} />
      {found.map(({ line, value }) => (
        <circle key={line.name} cx={x(at)} cy={y(value)} r={3} fill={line.colour} />
      ))}
      <rect x={corner} y={28} width={boxWidth} height={boxHeight} rx={3} />
      <text x={corner + 8} y={43}>
        {point} {count(at)}
      </text>
      {found.map(({ line, value, ends }, i) => (
        <text key={line.name} x={corner + 8} y={58 + 15 * i} fill={lettering(line)}>
          {line.name} <tspan class="strong">{write(value)}</tspan> {ends}
        </text>
      ))}
    </g>
  );
}

/** "(88.1\u201392.0 %)", or nothing where there is no interval. */
function endsOf({ low, high }: LinePoint, write: (value: number) => string): string {
  return low == null || high == null ? "" : `(${range([low, high], write)})`;
}
