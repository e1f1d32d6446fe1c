// A figure at the width there is: title and subtitle are broken anew, the legend's rows decide its height.
const pen = document.createElement("canvas").getContext("2d");
const entities = { lt: "<", gt: ">", amp: "&", quot: '"', "#x27": "'" };

// Lines no wider than that. A blank before a <br> marks a break of ours, which may move.
function broken(text, pixels, font) {
  pen.font = font;
  const wide = (part) => pen.measureText(part.replace(/<[^>]*>/g, "").replace(/&(#?\w+);/g,
    (all, name) => entities[name] ?? all)).width;
  const lines = [];
  for (const paragraph of text.replaceAll(" <br>", " ").split("<br>")) {
    let line = "";
    for (const word of paragraph.split(" ")) {
      if (line && wide(`${line} ${word}`) > pixels) {
        lines.push(line);
        line = word;
      } else line += (line && " ") + word;
    }
    lines.push(line);
  }
  return lines;
}

function fit(layout, width) {
  const own = layout.template?.layout ?? {};
  const family = layout.font?.family ?? own.font?.family ?? "sans-serif";
  const title = layout.title ?? {};
  const size = title.font?.size ?? own.title?.font?.size ?? 15;
  const small = title.subtitle?.font?.size ?? Math.round(0.7 * size);
  const head = broken(title.text ?? "", width - 24, `${size}px ${family}`);
  const below = broken(title.subtitle?.text ?? "", width - 24, `${small}px ${family}`);
  const count = (text) => (text ?? "").split("<br>").length;
  const more = Math.round(1.3 * size) * (head.length - count(title.text)) +
    15 * (below.length - count(title.subtitle?.text));
  layout.title = { ...title, text: head.join("<br>"), xref: "container", x: 8 / width,
    subtitle: { ...title.subtitle, text: below.join("<br>") } };
  if (head.length > 1 && layout.height) // plotly lets a second line push the first one out of the figure
    layout.title.y = (own.title?.y ?? 0.99) - Math.round(1.3 * size) * (head.length - 1) / layout.height;
  layout.margin = { ...own.margin, ...layout.margin };
  layout.margin.t += more;
  if (layout.height) layout.height += more;
  layout.width = width;
  if (!layout.meta?.legend) return;
  const { l, r } = layout.margin; // plotly gives a legend the width of the plot
  const rows = Math.ceil(layout.meta.legend / Math.max(120, width - l - r - 100)); // rows are never full
  layout.margin.b = 62 + 30 * rows;
  layout.height = layout.meta.high + 30 * rows + more;
}
