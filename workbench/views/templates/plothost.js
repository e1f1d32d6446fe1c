// One plotly figure, drawn from synced model state: right after a reload too, since nothing else is kept.
// plotly.js comes from the Jupyter kernel, gzipped, once for the whole page; no address is ever asked.
const WAIT_MS = 15000;
const UNANSWERED = "The Jupyter kernel does not answer (busy or gone), so this figure is not drawn yet. " +
  "If it is gone, run the cell again.";

async function unpack(buffer) {
  const bytes = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"));
  const text = await new Response(bytes).text();
  if (window.Plotly?.react) return; // another came first
  const script = document.createElement("script"); // hide AMD and CommonJS from the UMD wrapper
  script.textContent = `(function(define,module,exports){${text}}).call(window)`;
  document.head.append(script);
}

// Resolves when plotly.js is there, from whichever figure's kernel it came; calls late() while it is not.
async function plotly(model, late) {
  const page = (window.workbench ??= { asked: 0 });
  model.on("msg:custom", (message, buffers) => {
    if (message?.send === "plotly.js") unpack(buffers[0]);
  });
  for (const start = performance.now(); !window.Plotly?.react; ) {
    const now = performance.now();
    if (!page.asked || now - page.asked > WAIT_MS) {
      page.asked = now;
      model.send({ want: "plotly.js" });
    }
    if (now - start > WAIT_MS) late();
    await new Promise((next) => setTimeout(next, 50));
  }
  return window.Plotly;
}

// What is due is drawn in one go, figure after figure, so that the page is laid out and painted once.
function soon(draw) {
  const page = (window.workbench ??= { asked: 0 });
  page.due ??= new Set();
  page.due.add(draw);
  if (page.due.size > 1) return;
  setTimeout(() => {
    const all = [...page.due];
    page.due.clear();
    page.last = performance.now();
    for (const one of all) one();
  }, performance.now() - (page.last ?? 0) < 30 ? 15 : 0);
}

// The notebook's own colours, light or dark.
function colours(el) {
  const css = getComputedStyle(el);
  const pick = (name, otherwise) => css.getPropertyValue(name).trim() || otherwise;
  return { text: pick("--jp-content-font-color1", css.color), paper: pick("--jp-layout-color1", "#fff") };
}

// These colours over the figure's.
function themed(layout, { text, paper }) {
  const themed = { ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
  themed.modebar = { bgcolor: "rgba(0,0,0,0)", color: "rgba(128,128,128,0.7)", activecolor: text };
  themed.font = { ...layout.font, color: text };
  themed.hoverlabel = { ...layout.hoverlabel, bgcolor: paper, font: { color: text } };
  for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key)))
    themed[axis] = { ...layout[axis], gridcolor: "rgba(128,128,128,0.28)" };
  return themed;
}

// PNG and SVG as on paper: the figure's own colours, whatever the notebook's.
function downloads(library, figure) {
  const one = (format, icon) => ({
    name: `to ${format}`, title: `Download as ${format.toUpperCase()}`, icon,
    click: (plot) => {
      const { data, layout } = figure();
      fit(layout, plot.clientWidth, data);
      library.downloadImage({ data, layout }, { format, scale: format === "png" ? 2 : 1, width: layout.width,
        height: layout.height, filename: layout.meta?.file ?? "workbench" });
    },
  });
  return [one("png", library.Icons.camera), one("svg", library.Icons.disk)];
}

function render({ model, el }) {
  const note = document.createElement("div");
  const plot = document.createElement("div");
  note.className = "workbench-note";
  note.setAttribute("role", "status");
  plot.setAttribute("role", "img");
  el.style.minWidth = plot.style.minWidth = "0";
  plot.style.overflow = "hidden";
  el.append(note, plot);
  let library = null;
  let config = null;
  let drawn = null; // what the plot shows, apart from its marks
  let width = 0; // pixels there are

  const draw = async () => {
    if (!library) return;
    const { data, layout } = JSON.parse(model.get("fig")); // a new one: react() writes into it
    if (!data) return;
    plot.setAttribute("aria-label", layout.meta?.alt ?? "figure");
    plot.style.minHeight = `${layout.height ?? 300}px`;
    width ||= el.clientWidth;
    const theme = colours(el);
    if (width) fit(layout, width, data);
    const { shapes, meta, ...rest } = layout;
    const picture = JSON.stringify([data, rest, theme]);
    if (picture === drawn) { // only a mark has moved: much cheaper than drawing anew
      Object.assign(plot.layout, { meta });
      await library.relayout(plot, { shapes: shapes ?? [] });
    } else {
      drawn = picture;
      config ??= { // one for all drawings: to plotly another one means another plot
        displaylogo: false, modeBarButtonsToRemove: ["toImage", "select2d", "lasso2d", "autoScale2d"],
        modeBarButtonsToAdd: downloads(library, () => JSON.parse(model.get("fig"))),
      };
      await library.react(plot, data, themed(layout, theme), config);
    }
  };
  const changed = () => soon(draw); // the newest state wins; states in between are skipped, the last never is
  const alive = () => setTimeout(() => { // after the view has marked itself
    if (!el.closest(".jupyter-widgets-disconnected")) return void (note.textContent = "");
    const when = new Date().toLocaleTimeString();
    note.textContent = `Kernel gone: the figure shows the values of ${when}. Run the cell again.`;
  });

  model.on("change:fig", changed);
  model.on("comm_live_update", alive);
  const sized = new ResizeObserver(() => {
    width = el.clientWidth;
    changed();
  });
  const restyled = new MutationObserver(changed);
  restyled.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  plotly(model, () => { note.textContent = UNANSWERED; }).then((found) => {
    library = found;
    note.textContent = "";
    alive();
    changed();
    sized.observe(el);
  });
  return () => {
    sized.disconnect();
    restyled.disconnect();
    model.off("change:fig", changed);
    library?.purge(plot);
    library = null; // what is due is not drawn any more
  };
}

export default { render };
