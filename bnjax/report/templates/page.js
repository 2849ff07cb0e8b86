// What all parts of the page's program use: packed files, theme, downloads.
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
