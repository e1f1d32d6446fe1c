// One plotly figure, drawn from synced model state: right after a reload too, since nothing else is kept.
// plotly.js comes from the Jupyter kernel, gzipped, once for the whole page; no address is ever asked.
const WAIT_MS = 15000;

async function unpack(buffer) {
  const bytes = new Blob([buffer]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script"); // hide AMD and CommonJS from the UMD wrapper
  script.textContent = `(function(define,module,exports){${await new Response(bytes).text()}}).call(window)`;
  document.head.append(script);
  return window.Plotly;
}

function plotly(model) {
  if (window.Plotly?.react) return Promise.resolve(window.Plotly);
  window.workbenchPlotly ??= new Promise((found, lost) => {
    const give_up = setTimeout(() => {
      window.workbenchPlotly = undefined; // the next figure may have a kernel that answers
      lost(new Error("The Jupyter kernel does not answer, so this figure cannot be drawn. Run its cell again."));
    }, WAIT_MS);
    model.on("msg:custom", (message, buffers) => {
      if (message?.send !== "plotly.js" || window.Plotly?.react) return;
      clearTimeout(give_up);
      unpack(buffers[0]).then(found, lost);
    });
    model.send({ want: "plotly.js" });
  });
  return window.workbenchPlotly;
}

// The notebook's own colours, light or dark, over the figure's.
function themed(layout, el) {
  const css = getComputedStyle(el);
  const pick = (name, otherwise) => css.getPropertyValue(name).trim() || otherwise;
  const text = pick("--jp-content-font-color1", css.color);
  const paper = pick("--jp-layout-color1", "#fff");
  const themed = { ...layout, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)" };
  themed.font = { ...layout.font, color: text };
  themed.hoverlabel = { ...layout.hoverlabel, bgcolor: paper, font: { color: text } };
  for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key)))
    themed[axis] = { ...layout[axis], gridcolor: "rgba(128,128,128,0.28)", linecolor: text, tickcolor: text };
  return themed;
}

function render({ model, el }) {
  const note = document.createElement("div");
  const plot = document.createElement("div");
  note.className = "workbench-note";
  note.setAttribute("role", "status");
  plot.setAttribute("role", "img");
  el.append(note, plot);
  let library = null;
  let due = false;

  const draw = async () => {
    due = false;
    const { data, layout } = structuredClone(model.get("fig")); // react() writes into what it is given
    if (!data) return;
    plot.setAttribute("aria-label", layout.meta?.alt ?? "figure");
    plot.style.minHeight = `${layout.height ?? 300}px`;
    const name = layout.meta?.file ?? "workbench";
    await library.react(plot, data, themed(layout, el), {
      responsive: false, displaylogo: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      toImageButtonOptions: { format: "png", filename: name, scale: 2 },
    });
    plot.dataset.stamp = layout.meta?.stamp ?? "";
  };
  const soon = () => { // the newest state wins; states in between are skipped, the last never is
    if (!library || due) return;
    due = true;
    requestAnimationFrame(draw);
  };
  const alive = () => setTimeout(() => { // after the view has marked itself
    if (!el.closest(".jupyter-widgets-disconnected")) return void (note.textContent = "");
    const when = new Date().toLocaleTimeString();
    note.textContent = `Kernel gone: the figure shows the values of ${when}. Run the cell again.`;
  });

  model.on("change:fig", soon);
  model.on("comm_live_update", alive);
  const sized = new ResizeObserver(() => { if (library && plot.offsetWidth) library.Plots.resize(plot); });
  const restyled = new MutationObserver(soon);
  restyled.observe(document.body, { attributes: true, attributeFilter: ["data-jp-theme-light", "class"] });
  plotly(model).then((found) => { library = found; soon(); sized.observe(el); },
                     (error) => { note.textContent = error.message; });
  return () => {
    sized.disconnect();
    restyled.disconnect();
    model.off("change:fig", soon);
    if (library) library.purge(plot);
  };
}

export default { render };
