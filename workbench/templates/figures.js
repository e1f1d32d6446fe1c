// Draws every figure of the page from the JSON in it, in the reader's colours; paper gets the light ones.
const nonce = document.currentScript.nonce;
const dark = matchMedia("(prefers-color-scheme: dark)");
function draw(place) {
  const { data, layout } = JSON.parse(place.querySelector("script").textContent);
  const css = getComputedStyle(document.documentElement);
  const [text, paper, line] = ["--text", "--paper", "--line"].map((name) => css.getPropertyValue(name).trim());
  Object.assign(layout, { paper_bgcolor: paper, plot_bgcolor: paper, font: { ...layout.font, color: text } });
  layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: "rgba(128,128,128,0.7)", activecolor: text };
  layout.hoverlabel = { ...layout.hoverlabel, bgcolor: paper, font: { color: text } };
  fit(layout, place.clientWidth);
  for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key)))
    layout[axis] = { ...layout[axis], gridcolor: line };
  place.querySelector("img")?.remove();
  const plot = place.querySelector("div.drawn") ?? place.appendChild(Object.assign(
    document.createElement("div"), { className: "drawn" }));
  Plotly.react(plot, data, layout, { displaylogo: false,
    toImageButtonOptions: { format: "png", filename: layout.meta?.file ?? "workbench", scale: 2 } });
}
const all = () => document.querySelectorAll("figure.plot").forEach(draw);
async function start() { // plotly.js is in the page, gzipped; until it is unpacked the pictures stand in
  const packed = Uint8Array.from(atob(document.getElementById("plotly").textContent), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  const script = document.createElement("script");
  script.nonce = nonce;
  script.textContent = await new Response(stream).text();
  document.head.append(script);
  dark.addEventListener("change", all);
  addEventListener("resize", all);
  all();
}
start();
