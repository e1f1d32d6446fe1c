// Draws the figures of the page from the JSON in it, in the reader's colours; its PNG stands in until then, and on
// paper. Puts the figures back into the notebook that the page carries when somebody wants that.
const nonce = document.currentScript.nonce;
const dark = matchMedia("(prefers-color-scheme: dark)");
const places = [...document.querySelectorAll("figure.plot")];
const bytes = (text) => Uint8Array.fromBase64?.(text) ?? Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
async function unpack(id) {
  const stream = new Blob([bytes(document.getElementById(id).textContent)]).stream();
  return new Response(stream.pipeThrough(new DecompressionStream("gzip"))).text();
}
const figures = unpack("figures").then(JSON.parse);
async function draw(place) {
  const { data, layout } = structuredClone((await figures)[places.indexOf(place)]); // react() writes into it
  const css = getComputedStyle(document.documentElement);
  const [text, paper, line] = ["--text", "--paper", "--line"].map((name) => css.getPropertyValue(name).trim());
  Object.assign(layout, { paper_bgcolor: paper, plot_bgcolor: paper, font: { ...layout.font, color: text } });
  layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: "rgba(128,128,128,0.7)", activecolor: text };
  layout.hoverlabel = { ...layout.hoverlabel, bgcolor: paper, font: { color: text } };
  fit(layout, place.clientWidth, data);
  for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key)))
    layout[axis] = { ...layout[axis], gridcolor: line };
  const plot = place.querySelector("div.drawn") ?? place.appendChild(Object.assign(
    document.createElement("div"), { className: "drawn" }));
  await Plotly.react(plot, data, layout, { displaylogo: false,
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
    toImageButtonOptions: { format: "png", filename: layout.meta?.file ?? "workbench", scale: 2 } });
  place.classList.add("live"); // hides the PNG
}
async function all() { // the ones in sight first, then one at a time between the reader's own steps
  const near = (place) => Math.max(0, place.getBoundingClientRect().top - innerHeight, -place.getBoundingClientRect().bottom);
  for (const place of [...places].sort((a, b) => near(a) - near(b))) {
    await draw(place);
    await new Promise((next) => setTimeout(next));
  }
}
async function start() { // plotly.js is in the page, gzipped
  const script = document.createElement("script");
  script.nonce = nonce;
  script.textContent = await unpack("plotly");
  document.head.append(script);
  dark.addEventListener("change", all);
  let width = innerWidth;
  addEventListener("resize", () => { if (width !== innerWidth) { width = innerWidth; all(); } });
  await all();
}
const link = document.querySelector("nav a[download]");
link.addEventListener("click", async (event) => {
  if (!link.href.startsWith("data:")) return; // the whole notebook already
  event.preventDefault();
  const notebook = JSON.parse(new TextDecoder().decode(bytes(link.href.split(",")[1])));
  for (const [k, figure] of (await figures).entries()) {
    const [cell, output] = places[k].dataset.at.split(",");
    const data = { "application/vnd.plotly.v1+json": figure };
    const image = places[k].querySelector("img")?.src.split(",")[1];
    if (image) data["image/png"] = image;
    notebook.cells[cell].outputs[output].data = { ...data, ...notebook.cells[cell].outputs[output].data };
  }
  const whole = new Blob([JSON.stringify(notebook, null, 1) + "\n"], { type: "application/x-ipynb+json" });
  link.href = URL.createObjectURL(whole);
  link.click();
});
start();
