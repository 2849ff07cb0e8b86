// Surfaces: one scene for each arm that is on, all turned together.
const HOME = { x: 1.6, y: -1.6, z: 1.0 };
const CENTRE = { x: 0, y: 0, z: -0.18 };
const MOST_SCENES = 4;
let eye = { ...HOME };
// Labels stand beside the axes: in a narrow scene the eye goes back, and fewer ticks have room.
const NARROW = 440;
const reach = (holder) => (holder.clientWidth < NARROW ? 1.4 : 1);
const scaled = (place, factor) => ({ x: factor * place.x, y: factor * place.y, z: factor * place.z });
const scenes = (element) => all(".scene", element);
// The height of a surface between its points, on the scale that is drawn.
const height = (x, y, z, log) => (at, up) => {
  const place = (values, value) => {
    const last = values.length - 2;
    const i = Math.max(0, Math.min(last, values.findIndex((_, j) => j === last || values[j + 1] >= value)));
    return [i, (value - values[i]) / (values[i + 1] - values[i])];
  };
  const [column, right] = place(x, at);
  const [row, rise] = place(y, up);
  const value = (i, j) => (log ? Math.log10(z[i][j]) : z[i][j]);
  const found = (1 - rise) * ((1 - right) * value(row, column) + right * value(row, column + 1))
    + rise * ((1 - right) * value(row + 1, column) + right * value(row + 1, column + 1));
  return log ? 10 ** found : found;
};
// The path of training on its surface, to the trained network at the origin: snapshots, and a line
// that follows the surface a little above it, so that no bend of it hides the line.
const PIECES = 12;
const path = (trace, x, y, z, log, [low, high], name) => {
  const values = take(trace.path.a, trace.path.s, 2 * trace.n, 1);
  if (!values.every(Number.isFinite)) return [];
  const [across, up] = [0, 1].map((axis) => [...values.filter((_, i) => i % 2 === axis), 0]);
  const own = height(x, y, z, log);
  const dense = (ends) => ends.flatMap((end, i) => (i === 0 ? [end]
    : Array.from({ length: PIECES }, (_, j) => ends[i - 1] + (end - ends[i - 1]) * (j + 1) / PIECES)));
  const [right, rise] = [dense(across), dense(up)];
  const lifted = (value) => (log ? value * 10 ** (0.015 * (high - low)) : value + 0.015 * (high - low));
  const last = (one, others) => across.map((_, i) => (i === trace.n ? one : others));
  const scatter = { type: "scatter3d", name: `${name}, path of training`, showlegend: false };
  return [{
    ...scatter, mode: "markers", x: across, y: up, z: across.map((at, i) => own(at, up[i])),
    marker: { color: last("#FFFFFF", "#D41159"), size: last(6, 4), line: { color: "#000000", width: 1 } },
  }, {
    ...scatter, mode: "lines", hoverinfo: "skip", x: right, y: rise, z: right.map((at, i) => lifted(own(at, rise[i]))),
    line: { color: "#D41159", width: 6 },
  }];
};
const drawSurface = async (group, chart, element) => {
  const { ink, grid, paper, quiet } = colours();
  const on = chart.traces.filter((trace) => isOn(group, group.curves[trace.k]))
    .sort((a, b) => Number(group.curves[b.k].first) - Number(group.curves[a.k].first))
    .slice(0, MOST_SCENES);
  const holders = scenes(element);
  while (holders.length > on.length) {
    const last = holders.pop();
    window.Plotly.purge(last);
    last.parentElement.remove();
  }
  while (holders.length < on.length) {
    const outer = document.createElement("div");
    const title = document.createElement("p");
    title.className = "scene-title";
    const holder = document.createElement("div");
    holder.className = "scene";
    // A scene keeps the wheel and touches to itself even where it does not turn by them.
    for (const kind of ["wheel", ...(coarse.matches ? ["touchmove"] : [])]) {
      outer.addEventListener(kind, (event) => event.stopPropagation(), { capture: true, passive: true });
    }
    outer.append(title, holder);
    element.append(outer);
    holders.push(holder);
  }
  const [low, high] = chart.logY ? chart.range.map(Math.log10) : chart.range;
  await Promise.all(on.map(async (trace, i) => {
    const curve = group.curves[trace.k];
    const z = Array.from({ length: trace.rows }, (_, row) => take(trace.a, trace.s + row * trace.columns, trace.columns, 1));
    holders[i].previousElementSibling.innerHTML = curve.label;
    const axis = { gridcolor: grid, color: ink, backgroundcolor: paper, showbackground: true, nticks: reach(holders[i]) > 1 ? 4 : 6 };
    const x = take(trace.x.a, trace.x.s, trace.columns, 1);
    const y = take(trace.y.a, trace.y.s, trace.rows, 1);
    await window.Plotly.react(holders[i], [{
      type: "surface",
      x,
      y,
      z,
      surfacecolor: chart.logY ? z.map((row) => row.map(Math.log10)) : z,
      cmin: low, cmax: high, colorscale: "Viridis", showscale: false,
      contours: { z: { show: true, color: "#00000055", width: 1, highlight: false } },
      name: curve.label,
    }, ...(trace.path ? path(trace, x, y, z, chart.logY, [low, high], curve.label) : [])], {
      font: { family: "system-ui, sans-serif", size: 11, color: ink },
      paper_bgcolor: "rgba(0,0,0,0)",
      margin: { l: 0, r: 0, t: 0, b: 0 },
      height: 384,
      modebar: { color: quiet, activecolor: ink, bgcolor: "rgba(0,0,0,0)" },
      scene: {
        aspectmode: "cube",
        dragmode: coarse.matches ? false : "turntable",
        xaxis: { ...axis, title: { text: plain(chart.along) } },
        yaxis: { ...axis, title: { text: plain(chart.across) } },
        zaxis: { ...axis, title: { text: plain(chart.short) }, type: chart.logY ? "log" : "linear", ...(chart.logY ? { dtick: Math.max(1, Math.ceil((high - low) / 6)) } : {}), range: range(chart, chart.logY), exponentformat: "power" },
        camera: { eye: scaled(eye, reach(holders[i])), center: CENTRE },
      },
    }, { ...settings, modeBarButtonsToRemove: [] });
    if (!holders[i].dataset.heard) {
      holders[i].dataset.heard = "yes";
      holders[i].on("plotly_relayout", (change) => {
        const camera = change["scene.camera"];
        if (camera) turnTo(scaled(camera.eye, 1 / reach(holders[i])), holders[i]);
      });
    }
  }));
};
const turnTo = (next, except) => {
  if (["x", "y", "z"].every((name) => Math.abs(next[name] - eye[name]) < 1e-9)) return;
  eye = { ...next };
  for (const holder of all(".scene")) {
    if (holder !== except && holder.data) window.Plotly.relayout(holder, { "scene.camera.eye": scaled(eye, reach(holder)) });
  }
};
const turn = (way) => {
  const reach = Math.hypot(eye.x, eye.y);
  const far = Math.hypot(reach, eye.z);
  let angle = Math.atan2(eye.y, eye.x);
  let tilt = Math.atan2(eye.z, reach);
  if (way === "left") angle -= Math.PI / 12;
  if (way === "right") angle += Math.PI / 12;
  if (way === "up") tilt = Math.min(tilt + Math.PI / 18, 1.5);
  if (way === "down") tilt = Math.max(tilt - Math.PI / 18, -1.5);
  turnTo(way === "home" ? HOME : {
    x: far * Math.cos(tilt) * Math.cos(angle),
    y: far * Math.cos(tilt) * Math.sin(angle),
    z: far * Math.sin(tilt),
  }, null);
};
