// A finger scrolls the page, whatever it lies on.
const coarse = matchMedia("(pointer: coarse)");

// Figures: zoomed by buttons, keys, and Ctrl with the wheel or a pinch; moved by dragging and keys.
// The wheel alone scrolls the page. Under a finger they become larger in place, and scroll like the
// page.
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
      if (coarse.matches || !event.ctrlKey) return;
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
