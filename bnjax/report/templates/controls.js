// Charts drawn and drawn again, their numbers as tables, switches and the slider.
const draw = async (id) => {
  const { group, chart, element } = charts.get(id);
  await loadPlotly();
  if (chart.kind === "surface") return drawSurface(group, chart, element);
  const narrow = element.clientWidth < 600;
  const traces = chart.kind === "overlay" ? overlays(chart, narrow) : lines(group, chart);
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
  const when = chart.kind === "slice" ? `-step-${steps.get(group.id)}` : "";
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

const markAll = (own) => {
  for (const id of drawn) {
    const { group, chart, element } = charts.get(id);
    if (group === own && MARKED.includes(chart.kind) && element.data) window.Plotly.relayout(element, { shapes: marks(group, chart) });
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
      list.addEventListener("change", () => {
        note();
        // Every chart with this axis shows the same value of it.
        for (const other of all(`select[data-axis="${list.dataset.axis}"]`, section)) other.value = list.value;
        redraw(own);
      });
    }
    setUpStepper(group, section.querySelector(".stepper"));
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
};
const setUpStepper = (group, form) => {
  if (group.steps.length) steps.set(group.id, group.steps[group.steps.length - 1]);
  if (!form) return;
  const slider = form.querySelector("input");
  const show = () => {
    const step = group.steps[Number(slider.value)];
    steps.set(group.id, step);
    form.querySelector("output").textContent = step;
    slider.setAttribute("aria-valuetext", `step ${step}`);
    redraw((other) => other.group === group && other.chart.kind === "slice");
    markAll(group);
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
