// A figure at the width there is: title and subtitle are broken anew, the legend's rows decide its height.
const pen = document.createElement("canvas").getContext("2d");
const NARROW = 620; // pixels
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

function fit(layout, width, data = []) {
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
  layout.margin = { ...own.margin, ...layout.margin };
  layout.margin.t += more;
  if (layout.height) layout.height += more;
  layout.width = width;
  if (layout.meta?.names && width < NARROW) { // long names of rows, in two lines and a third of the width
    const names = layout.meta.names;
    layout.yaxis = { ...layout.yaxis, tickmode: "array", tickvals: names, tickfont: { size: 8 },
      ticktext: names.map((name) => broken(name, 0.36 * width, `8px ${family}`).join("<br>")) };
  }
  for (const trace of data) if (trace.type === "heatmap" && trace.texttemplate) written(trace, layout, width);
  if (layout.meta?.legend) {
    const { l, r } = layout.margin; // plotly gives a legend the width of the plot
    const rows = legendRows(data, width - l - r, `13px ${family}`) ||
      Math.ceil(layout.meta.legend / Math.max(120, width - l - r - 100));
    layout.margin.b = 62 + 30 * rows;
    layout.height = layout.meta.high + 30 * rows + more;
    layout.legend = { ...layout.legend, maxheight: 1 }; // else half of the height, and a bar to scroll it
  }
  placed(layout, head.length, size);
}

// The rows of a legend whose entries follow each other: 40 pixels for the key, 25 between two: rather a row too many.
function legendRows(data, room, font) {
  pen.font = font;
  const names = data.filter((trace) => trace.name && trace.showlegend !== false).map((trace) => trace.name);
  let [rows, used] = [names.length ? 1 : 0, 0];
  for (const name of names) {
    const wide = pen.measureText(name).width + 65;
    if (used && used + wide > room) [rows, used] = [rows + 1, 0];
    used += wide;
  }
  return rows;
}

// What is written in a heatmap's cells, as small as the cells want it; below 8 pixels only its first letter.
function written(trace, layout, width) {
  const cell = (width - 110) / trace.z[0].length;
  const plain = trace.text.map((row) => row.map((text) => text.replace(/<[^>]*>/g, "")));
  const size = Math.floor(cell / (0.62 * Math.max(...plain.flat().map((text) => text.length))));
  if (size < 8) trace.text = plain.map((row) => row.map((text) => text[0]));
  trace.textfont = { ...trace.textfont, size: size < 8 ? 11 : Math.min(size, trace.textfont?.size ?? 12) };
  if (cell < 42) layout.xaxis = { ...layout.xaxis, tickangle: -90 };
}

// The title 5 pixels below the upper edge; plotly lets a second line push the first one up.
function placed(layout, lines, size) {
  if (layout.height) layout.title.y = 1 - (5 + Math.round(1.3 * size) * (lines - 1)) / layout.height;
}
