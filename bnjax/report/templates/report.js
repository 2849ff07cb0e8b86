"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const say = (text) => { byId("status").textContent = text; };
  // Charts read a little HTML in texts.
  const plain = (text) => text.replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");

  // What is packed in the page: base64 of gzip.
  const unpack = async (id) => {
    const bytes = Uint8Array.from(atob(byId(id).textContent), (c) => c.charCodeAt(0));
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  };

  // Theme: the system's, unless the reader chose one.
  const root = document.documentElement;
  const darkSystem = matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : darkSystem.matches);
  const remember = (theme) => { try { localStorage.setItem("bnjax-theme", theme); } catch { /* private window */ } };
  const setUpTheme = () => {
    const button = byId("theme");
    try {
      const kept = localStorage.getItem("bnjax-theme");
      if (kept === "dark" || kept === "light") root.dataset.theme = kept;
    } catch { /* private window */ }
    const name = () => { button.textContent = isDark() ? "Light page" : "Dark page"; };
    button.addEventListener("click", () => {
      root.dataset.theme = isDark() ? "light" : "dark";
      remember(root.dataset.theme);
      name();
      redraw();
    });
    darkSystem.addEventListener("change", () => { name(); redraw(); });
    name();
  };

  const handOut = (parts, type, name) => {
    const address = URL.createObjectURL(new Blob(parts, { type }));
    const handed = document.createElement("a");
    handed.href = address;
    handed.download = name;
    handed.click();
    setTimeout(() => URL.revokeObjectURL(address), 60000);
    say(`${name} is handed out`);
  };

  // Files: the page holds them packed.
  const setUpDownloads = () => {
    for (const link of all("a[data-file]")) {
      link.addEventListener("click", async (event) => {
        event.preventDefault();
        handOut([await unpack(link.dataset.file)], link.dataset.type, link.download);
      });
    }
    for (const button of all("button.copy")) {
      button.addEventListener("click", async () => {
        const code = button.parentElement.querySelector("code");
        getSelection().selectAllChildren(code);
        try {
          await navigator.clipboard.writeText(code.textContent);
          say("The command is copied");
        } catch { say("The command is selected"); }
      });
    }
  };

  // A finger scrolls the page, whatever it lies on.
  const coarse = matchMedia("(pointer: coarse)");

  // Figures: zoomed by wheel, buttons and keys; moved by dragging and keys. Under a finger they
  // become larger in place, and scroll like the page.
  const setUpFigures = () => {
    for (const view of all(".view")) {
      const svg = view.querySelector("svg");
      if (!svg) continue;
      const box = svg.viewBox.baseVal;
      const whole = [box.x, box.y, box.width, box.height];
      let [x, y, width, height] = whole;
      let scale = 1;
      const enlarge = (next) => {
        const middle = (view.scrollLeft + view.clientWidth / 2) / view.scrollWidth;
        scale = Math.min(Math.max(next, 1), 8);
        svg.style.width = `${100 * scale}%`;
        view.scrollLeft = middle * view.scrollWidth - view.clientWidth / 2;
        view.classList.toggle("zoomed", scale > 1);
      };
      const show = () => {
        width = Math.min(width, whole[2]);
        height = Math.min(height, whole[3]);
        x = Math.min(Math.max(x, whole[0]), whole[0] + whole[2] - width);
        y = Math.min(Math.max(y, whole[1]), whole[1] + whole[3] - height);
        svg.setAttribute("viewBox", [x, y, width, height].join(" "));
        view.classList.toggle("zoomed", width < whole[2]);
      };
      const zoom = (factor, across = 0.5, along = 0.5) => {
        const next = Math.max(width / factor, whole[2] / 40);
        const ratio = next / width;
        x += width * (1 - ratio) * across;
        y += height * (1 - ratio) * along;
        width = next;
        height *= ratio;
        show();
      };
      const move = (right, down) => { x += width * right; y += height * down; show(); };
      const reset = () => { [x, y, width, height] = whole; show(); };
      const act = coarse.matches
        ? { in: () => enlarge(1.5 * scale), out: () => enlarge(scale / 1.5), all: () => enlarge(1) }
        : { in: () => zoom(1.5), out: () => zoom(1 / 1.5), all: reset };
      for (const button of all("[data-zoom]", view.parentElement)) {
        button.addEventListener("click", () => act[button.dataset.zoom]());
      }
      view.addEventListener("wheel", (event) => {
        // The page scrolls over figures that nobody has chosen.
        if (coarse.matches || (!event.ctrlKey && document.activeElement !== view)) return;
        event.preventDefault();
        const place = svg.getBoundingClientRect();
        zoom(
          Math.exp(-Math.sign(event.deltaY) * 0.2),
          (event.clientX - place.left) / place.width,
          (event.clientY - place.top) / place.height,
        );
      }, { passive: false });
      const keys = {
        "+": act.in, "=": act.in, "-": act.out, "0": act.all,
        ArrowLeft: () => move(-0.1, 0), ArrowRight: () => move(0.1, 0),
        ArrowUp: () => move(0, -0.1), ArrowDown: () => move(0, 0.1),
      };
      view.addEventListener("keydown", (event) => {
        const arrow = event.key.startsWith("Arrow");
        if (event.ctrlKey || event.metaKey || !keys[event.key]) return;
        if (arrow && (coarse.matches || !view.classList.contains("zoomed"))) return;
        event.preventDefault();
        keys[event.key]();
      });
      let from = null;
      view.addEventListener("pointerdown", (event) => {
        if (coarse.matches || !view.classList.contains("zoomed") || event.button) return;
        from = [event.clientX, event.clientY];
        view.setPointerCapture(event.pointerId);
        view.classList.add("moving");
      });
      view.addEventListener("pointermove", (event) => {
        if (!from) return;
        const place = svg.getBoundingClientRect();
        move((from[0] - event.clientX) / place.width, (from[1] - event.clientY) / place.height);
        from = [event.clientX, event.clientY];
      });
      for (const end of ["pointerup", "pointercancel"]) {
        view.addEventListener(end, () => { from = null; view.classList.remove("moving"); });
      }
    }
  };

  // Charts.
  let data = null;
  let block = null;
  let plotly = null;
  const charts = new Map(); // by the id of the plot: chart, group, element
  const drawn = new Set();
  const off = new Map(); // by group: values of factors that are switched off
  const chosen = new Map(); // by group: values of axes that are chosen from lists
  let step = null;

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
  const nearest = (steps) => {
    let best = 0;
    steps.forEach((value, i) => { if (Math.abs(value - step) < Math.abs(steps[best] - step)) best = i; });
    return best;
  };
  const isOn = (group, curve) =>
    Object.entries(curve.values).every(([name, value]) => !off.get(group.id).has(`${name}=${value}`));

  // The part of an array that a trace draws now; null where a list has no such value for it.
  const start = (group, trace) => {
    const source = group.curves[trace.k].source;
    let offset = 0;
    if (trace.p !== undefined) offset += trace.p * nearest(array(group.probes[source]));
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
  const beside = (chart, narrow) => chart.traces.map((trace) => {
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
      showlegend: chart.kind === "beside",
      legend: { orientation: "h", y: -0.25, yanchor: "top", font: { size: 11 } },
      uirevision: chart.id,
      xaxis: { ...axis, title: { text: plain(chart.along) }, exponentformat: "none", ...(Array.isArray(chart.traces[0].x) ? { type: "category" } : scale(chart.logX, 0)), ...(few ? { tickvals: few, ticktext: few.map((value) => String(Number(value.toPrecision(3)))) } : {}) },
      yaxis: { ...axis, ...scale(chart.logY, Math.log10(chart.range[1] / chart.range[0])), range: range(chart, chart.logY) },
    };
    if (chart.kind === "beside") {
      const [measured, published] = ["measured", "published"].map((what) => ({ ...own.xaxis, title: { text: `${plain(chart.along)}, ${what}` } }));
      own.yaxis.title = { text: plain(chart.short) };
      Object.assign(own, narrow
        ? { xaxis: { ...measured, anchor: "y" }, xaxis2: { ...published, anchor: "y2" }, yaxis2: { ...own.yaxis, domain: [0, 0.4] }, height: 620 }
        : { xaxis: { ...measured, domain: [0, 0.485] }, xaxis2: { ...published, domain: [0.515, 1] }, height: 420 });
      if (narrow) own.yaxis = { ...own.yaxis, domain: [0.6, 1] };
      own.legend = { orientation: "h", y: narrow ? -0.14 : -0.24, yanchor: "top", font: { size: 11 } };
    }
    own.shapes = marks(chart);
    if (coarse.matches) {
      own.dragmode = false;
      for (const name of Object.keys(own)) if (/^[xy]axis/.test(name)) own[name].fixedrange = true;
    }
    return own;
  };
  // Where the slider stands, in what goes along the training step.
  const MARKED = ["training", "course", "beside"];
  const marks = (chart) => {
    if (!MARKED.includes(chart.kind) || step === null || Array.isArray(chart.traces[0].x)) return [];
    return [{ type: "line", name: "step", x0: step, x1: step, xref: "x", y0: 0, y1: 1, yref: "y domain", line: { color: colours().ink, width: 1, dash: "dot" } }];
  };
  const settings = {
    displaylogo: false, responsive: true, showSendToCloud: false, plotlyServerURL: "",
    toImageButtonOptions: { format: "svg" },
    modeBarButtonsToRemove: ["lasso2d", "select2d"],
    displayModeBar: coarse.matches ? false : "hover",
  };

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
    const values = take(trace.path.a, trace.path.s, 2 * trace.path.n, 1);
    const [across, up] = [0, 1].map((axis) => [...values.filter((_, i) => i % 2 === axis), 0]);
    const own = height(x, y, z, log);
    const dense = (ends) => ends.flatMap((end, i) => (i === 0 ? [end]
      : Array.from({ length: PIECES }, (_, j) => ends[i - 1] + (end - ends[i - 1]) * (j + 1) / PIECES)));
    const [right, rise] = [dense(across), dense(up)];
    const lifted = (value) => (log ? value * 10 ** (0.015 * (high - low)) : value + 0.015 * (high - low));
    const last = (one, others) => across.map((_, i) => (i === trace.path.n ? one : others));
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
      // A scene keeps touches to itself even where it does not turn by them.
      if (coarse.matches) outer.addEventListener("touchmove", (event) => event.stopPropagation(), { capture: true, passive: true });
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

  const draw = async (id) => {
    const { group, chart, element } = charts.get(id);
    await loadPlotly();
    if (chart.kind === "surface") return drawSurface(group, chart, element);
    const narrow = element.clientWidth < 600;
    const traces = chart.kind === "beside" ? beside(chart, narrow) : lines(group, chart);
    return window.Plotly.react(element, traces, layout(group, chart, narrow), settings);
  };
  // The numbers that a chart shows, as a table: a row for each point.
  const cell = (value) => {
    if (typeof value === "number") return Number.isNaN(value) ? "nan" : String(Number(value.toPrecision(9)));
    const text = new DOMParser().parseFromString(value, "text/html").body.textContent;
    return /[",\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
  };
  const rows = (trace) => {
    if (trace.hoverinfo === "skip") return []; // drawn to be seen alone
    if (trace.type !== "surface") return Array.from(trace.x, (x, i) => [trace.name, x, ...(trace.z ? [trace.y[i], trace.z[i]] : [trace.y[i]])]);
    return trace.z.flatMap((line, i) => Array.from(line, (z, j) => [trace.name, trace.x[j], trace.y[i], z]));
  };
  const table = ({ chart, element }) => {
    const shown = chart.kind === "surface" ? scenes(element) : [element];
    const head = ["series", chart.along, ...(chart.across ? [chart.across] : []), chart.title];
    const body = shown.flatMap((holder) => holder.data.flatMap(rows));
    return `${[head, ...body].map((row) => row.map(cell).join(",")).join("\n")}\n`;
  };
  const tableName = ({ group, chart }) => {
    const when = chart.kind === "slice" ? `-step-${step}` : "";
    return `${group.id}-${chart.name}${when}`.replace(/[^\w.-]+/g, "_") + ".csv";
  };

  let waiting = null;
  const redraw = (only = () => true) => {
    if (!data) return;
    const ids = [...drawn].filter((id) => only(charts.get(id)));
    waiting = (waiting ?? Promise.resolve()).then(() => Promise.all(ids.map(draw))).then(() => {
      root.dataset.drawn = String(Number(root.dataset.drawn ?? 0) + 1);
    });
  };

  const markAll = () => {
    for (const id of drawn) {
      const { chart, element } = charts.get(id);
      if (MARKED.includes(chart.kind) && element.data) window.Plotly.relayout(element, { shapes: marks(chart) });
    }
  };

  const setUpCharts = async () => {
    data = JSON.parse(byId("data").textContent);
    block = (await unpack("numbers")).buffer;
    const seen = new IntersectionObserver((entries) => {
      for (const { isIntersecting, target } of entries) {
        if (!isIntersecting || drawn.has(target.id)) continue;
        drawn.add(target.id);
        draw(target.id).catch((error) => { target.textContent = `Not drawn: ${error.message}`; });
      }
    }, { rootMargin: "400px" });
    step = data.steps.length ? data.steps[data.steps.length - 1] : null;
    for (const group of data.groups) {
      const section = document.querySelector(`.live[data-group="${group.id}"]`);
      if (!section) continue;
      off.set(group.id, new Set());
      chosen.set(group.id, {});
      section.hidden = false;
      const own = ({ group: other }) => other === group;
      for (const box of all("input[data-factor]", section)) {
        const note = () => {
          const key = `${box.dataset.factor}=${box.dataset.value}`;
          off.get(group.id)[box.checked ? "delete" : "add"](key);
        };
        note(); // what is off at first, or a browser remembers to be
        box.addEventListener("change", () => { note(); redraw(own); });
      }
      for (const list of all("select[data-axis]", section)) {
        const note = () => { chosen.get(group.id)[list.dataset.axis] = list.value; };
        note();
        list.addEventListener("change", () => { note(); redraw(own); });
      }
      for (const chart of group.charts) {
        const element = byId(chart.id);
        charts.set(chart.id, { group, chart, element });
        const holder = element.parentElement;
        holder.querySelector("[data-log]")?.addEventListener("click", (event) => {
          chart.logY = !chart.logY;
          event.currentTarget.setAttribute("aria-pressed", String(chart.logY));
          redraw((other) => other.chart === chart);
        });
        holder.querySelector("[data-table]").addEventListener("click", async () => {
          const own = charts.get(chart.id);
          await draw(chart.id);
          handOut([table(own)], "text/csv", tableName(own));
        });
        for (const button of all("[data-turn]", holder)) {
          button.addEventListener("click", () => turn(button.dataset.turn));
        }
        seen.observe(element);
      }
    }
    setUpStepper();
  };
  const setUpStepper = () => {
    const form = byId("stepper");
    if (!form) return;
    const slider = byId("step");
    form.hidden = false;
    const show = () => {
      step = data.steps[Number(slider.value)];
      byId("step-shown").textContent = step;
      slider.setAttribute("aria-valuetext", `step ${step}`);
      redraw(({ chart }) => chart.kind === "slice");
      markAll();
    };
    slider.addEventListener("input", show);
    form.addEventListener("submit", (event) => event.preventDefault());
    for (const button of all("[data-step]", form)) {
      button.addEventListener("click", () => {
        slider.value = String(Number(slider.value) + Number(button.dataset.step));
        show();
      });
    }
    show();
  };

  addEventListener("beforeprint", () => { for (const one of all("main details")) one.open = true; });
  for (const element of all(".scripted")) element.hidden = false;
  setUpTheme();
  setUpDownloads();
  setUpFigures();
  if (byId("data") && "DecompressionStream" in window) {
    setUpCharts().catch((error) => say(`The interactive charts are not shown: ${error.message}`));
  } else {
    say("The interactive charts are not shown: this browser cannot unpack them");
  }
})();
