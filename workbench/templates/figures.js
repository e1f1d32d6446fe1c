// Draws every figure of the page from the JSON in it, in the reader's colours; paper gets the light ones.
const dark = matchMedia("(prefers-color-scheme: dark)");
function draw(place) {
  const { data, layout } = JSON.parse(place.querySelector("script").textContent);
  const css = getComputedStyle(document.documentElement);
  const [text, paper, line] = ["--text", "--paper", "--line"].map((name) => css.getPropertyValue(name).trim());
  Object.assign(layout, { paper_bgcolor: paper, plot_bgcolor: paper, font: { ...layout.font, color: text } });
  layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: "rgba(128,128,128,0.7)", activecolor: text };
  layout.hoverlabel = { ...layout.hoverlabel, bgcolor: paper, font: { color: text } };
  delete layout.width;
  layout.autosize = true;
  for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key)))
    layout[axis] = { ...layout[axis], gridcolor: line };
  place.querySelector("img")?.remove();
  const plot = place.querySelector("div.drawn") ?? place.appendChild(Object.assign(
    document.createElement("div"), { className: "drawn" }));
  Plotly.react(plot, data, layout, { responsive: true, displaylogo: false,
    toImageButtonOptions: { format: "png", filename: layout.meta?.file ?? "workbench", scale: 2 } });
}
const all = () => document.querySelectorAll("figure.plot").forEach(draw);
dark.addEventListener("change", all);
all();
