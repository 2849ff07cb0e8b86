// Charts.
let data = null;
let block = null;
let plotly = null;
const charts = new Map(); // by the id of the plot: chart, group, element
const drawn = new Set();
const off = new Map(); // by group: values of factors that are switched off
const chosen = new Map(); // by group: values of axes that are chosen from lists
const steps = new Map(); // by group: the training step of its slices

const array = (place) => {
  const [first, count, width] = data.places[place];
  return width === 8 ? new Float64Array(block, first, count) : new Float32Array(block, first, count);
};
const loadPlotly = () => {
  plotly ??= unpack("plotly").then((bytes) => {
    const script = document.createElement("script");
    script.textContent = new TextDecoder().decode(bytes);
    document.head.append(script);
    if (!window.Plotly) throw new Error("the program of the charts does not run here");
    return window.Plotly;
  });
  return plotly;
};
const nearest = (probed, step) => {
  let best = 0;
  probed.forEach((value, i) => { if (Math.abs(value - step) < Math.abs(probed[best] - step)) best = i; });
  return best;
};
const isOn = (group, curve) =>
  Object.entries(curve.values).every(([name, value]) => !off.get(group.id).has(`${name}=${value}`));

// The part of an array that a trace draws now; null where a list has no such value for it.
const start = (group, trace) => {
  const source = group.curves[trace.k].source;
  let offset = 0;
  if (trace.p !== undefined) offset += trace.p * nearest(array(group.probes[source]), steps.get(group.id));
  for (const [axis, stride] of Object.entries(trace.c ?? {})) {
    const place = group.axes[source][axis].indexOf(chosen.get(group.id)[axis]);
    if (place < 0) return null;
    offset += stride * place;
  }
  return offset;
};
const take = (place, first, count, stride) => {
  const values = array(place);
  return Array.from({ length: count }, (_, i) => values[first + i * stride]);
};
const along = (trace, offset) => {
  if (Array.isArray(trace.x)) return trace.x;
  if (typeof trace.x === "number") return take(trace.x, 0, trace.n, 1);
  return take(trace.x.a, trace.x.s + offset, trace.n, trace.d);
};
// Wide curves lie below thin ones.
const ordered = (group, traces) => [...traces].sort((a, b) => group.curves[b.k].width - group.curves[a.k].width);
const lines = (group, chart) => ordered(group, chart.traces).flatMap((trace) => {
  const curve = group.curves[trace.k];
  const offset = isOn(group, curve) ? start(group, trace) : null;
  if (offset === null) return [];
  const colour = isDark() ? curve.dark : curve.colour;
  const test = trace.w === "test set";
  return [{
    type: "scatter",
    mode: test ? "markers" : trace.m,
    name: trace.w ? `${curve.label}, ${trace.w}` : curve.label,
    x: along(trace, offset),
    y: take(trace.a, trace.s + offset, trace.n, trace.d),
    line: { color: colour, dash: curve.dash, width: curve.width * (curve.first ? 1 : 0.55) },
    opacity: curve.opacity,
    marker: { color: colour, symbol: test ? `${curve.symbol}-open` : curve.symbol, size: test ? 8 : 6 },
    connectgaps: false,
  }];
});
// Measured and published beside each other on one upright axis: their steps may differ a lot.
const overlays = (chart, narrow) => chart.traces.map((trace) => {
  const colour = isDark() ? trace.dark : trace.colour;
  return {
    type: "scatter",
    mode: trace.m,
    name: trace.label,
    ...(trace.published ? { xaxis: "x2", yaxis: narrow ? "y2" : "y" } : {}),
    x: take(trace.x, 0, trace.n, 1),
    y: take(trace.a, 0, trace.n, 1),
    line: { color: colour, dash: trace.dash, width: trace.published || trace.edge ? 1 : 2 },
    marker: { color: colour, size: 6 },
    fill: trace.fill ? "tonexty" : "none",
    fillcolor: `${colour}30`,
    showlegend: trace.named,
  };
});
const colours = () => {
  const style = getComputedStyle(root);
  const get = (name) => style.getPropertyValue(name).trim();
  return { ink: get("--ink"), grid: get("--grid"), paper: get("--paper"), quiet: get("--quiet") };
};
const range = (chart, log) => {
  const [low, high] = log ? chart.range.map(Math.log10) : chart.range;
  const margin = 0.05 * (high - low) || 0.05 * Math.abs(high) || 1;
  return [low - margin, high + margin];
};
const layout = (group, chart, narrow) => {
  const { ink, grid, quiet } = colours();
  const axis = { gridcolor: grid, zerolinecolor: grid, linecolor: grid, automargin: true, exponentformat: "power" };
  // Few values on a logarithmic axis are named one by one; of many only the decades.
  const scale = (log, decades) => (log ? { type: "log", ...(decades >= 1.5 ? { dtick: Math.max(1, Math.ceil(decades / 8)) } : {}) } : { type: "linear" });
  const few = chart.logX && typeof chart.traces[0].x === "number" && chart.traces[0].n <= 8
    ? take(chart.traces[0].x, 0, chart.traces[0].n, 1) : null;
  const own = {
    font: { family: "system-ui, sans-serif", size: 12, color: ink },
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    margin: { l: 50, r: 10, t: 10, b: 45 },
    height: 336,
    hoverlabel: { namelength: -1 },
    modebar: { color: quiet, activecolor: ink, bgcolor: "rgba(0,0,0,0)" },
    showlegend: chart.kind === "overlay",
    legend: { orientation: "h", y: -0.25, yanchor: "top", font: { size: 11 } },
    uirevision: chart.id,
    xaxis: { ...axis, title: { text: plain(chart.along) }, exponentformat: "none", ...(Array.isArray(chart.traces[0].x) ? { type: "category" } : scale(chart.logX, 0)), ...(few ? { tickvals: few, ticktext: few.map((value) => String(Number(value.toPrecision(3)))) } : {}) },
    yaxis: { ...axis, ...scale(chart.logY, Math.log10(chart.range[1] / chart.range[0])), range: range(chart, chart.logY) },
  };
  if (chart.kind === "overlay") {
    const [measured, published] = ["measured", "published"].map((what) => ({ ...own.xaxis, title: { text: `${plain(chart.along)}, ${what}` } }));
    own.yaxis.title = { text: plain(chart.short) };
    Object.assign(own, narrow
      ? { xaxis: { ...measured, anchor: "y" }, xaxis2: { ...published, anchor: "y2" }, yaxis2: { ...own.yaxis, domain: [0, 0.4] }, height: 620 }
      : { xaxis: { ...measured, domain: [0, 0.485] }, xaxis2: { ...published, domain: [0.515, 1] }, height: 420 });
    if (narrow) own.yaxis = { ...own.yaxis, domain: [0.6, 1] };
    own.legend = { orientation: "h", y: narrow ? -0.14 : -0.24, yanchor: "top", font: { size: 11 } };
  }
  own.shapes = marks(group, chart);
  if (coarse.matches) {
    own.dragmode = false;
    for (const name of Object.keys(own)) if (/^[xy]axis/.test(name)) own[name].fixedrange = true;
  }
  return own;
};
// Where the slider stands, in what goes along the training step.
const MARKED = ["training", "course", "overlay"];
const marks = (group, chart) => {
  const step = steps.get(group.id);
  if (!MARKED.includes(chart.kind) || step === undefined || Array.isArray(chart.traces[0].x)) return [];
  return [{ type: "line", name: "step", x0: step, x1: step, xref: "x", y0: 0, y1: 1, yref: "y domain", line: { color: colours().ink, width: 1, dash: "dot" } }];
};
const settings = {
  displaylogo: false, responsive: true, scrollZoom: false, showSendToCloud: false, plotlyServerURL: "",
  toImageButtonOptions: { format: "svg" },
  modeBarButtonsToRemove: ["lasso2d", "select2d"],
  displayModeBar: coarse.matches ? false : "hover",
};
