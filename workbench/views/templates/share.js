// The page of share(): controls pick a computed point; its figures, texts and tables are unpacked and shown.
// The address holds the point (#control=value&...), so that a link, a reload and the back button bring it back.
const nonce = document.currentScript.nonce;
const $ = (id) => document.getElementById(id);
const dark = matchMedia("(prefers-color-scheme: dark)");
const ROWS_SHOWN = 200;
let page, here, printing = false;

async function gunzip(id) {
  const text = atob($(id).textContent), packed = new Uint8Array(text.length);
  for (let at = 0; at < text.length; at++) packed[at] = text.charCodeAt(at);
  return new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).text();
}

// The inverse of share.pack(): a fresh document each time, since plotly writes into what it gets.
function unpack(packed, number) {
  const [shape, row] = packed.of[number];
  const { first, columns } = packed.shapes[shape];
  let doc = structuredClone(first);
  for (const { path, values, at } of columns) {
    const value = structuredClone(values[at[row]]);
    let node = doc;
    for (const key of path.slice(0, -1)) node = node[key];
    if (path.length) node[path.at(-1)] = value;
    else doc = value;
  }
  return doc;
}

const pointOf = (places) => page.axes.reduce((number, axis, i) => number * axis.values.length + places[i], 0);
const numberOf = (view, point) => view.at[point];
const view = (kind, name) => page.views.find((one) => one.kind === kind && one.name === name);
// Control and direction characters, visible instead of acting.
const inert = (text) => String(text).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, (c) => `\\u{${c.codePointAt(0).toString(16)}}`);

function themed(layout, width, data) {
  const css = getComputedStyle(document.documentElement);
  const of = (name, light) => (printing ? light : css.getPropertyValue(name).trim());
  const [text, paper, line] = [of("--text", "#1c1c1c"), of("--paper", "#fff"), of("--line", "#d9d9d9")];
  Object.assign(layout, { paper_bgcolor: paper, plot_bgcolor: paper, font: { ...layout.font, color: text } });
  layout.modebar = { bgcolor: "rgba(0,0,0,0)", color: "rgba(128,128,128,0.7)", activecolor: text };
  layout.hoverlabel = { ...layout.hoverlabel, bgcolor: paper, font: { color: text } };
  for (const axis of Object.keys(layout).filter((key) => /^[xy]axis/.test(key)))
    layout[axis] = { ...layout[axis], gridcolor: line };
  fit(layout, width, data);
  return layout;
}

// One figure at a point. Where only a mark has moved, the mark alone is drawn: much cheaper.
async function draw(place, point) {
  const of = view("figures", place.dataset.view);
  const number = of ? numberOf(of, point) : -1;
  const width = printing ? 680 : place.clientWidth;
  const look = `${width} ${printing || !dark.matches}`;
  place.classList.toggle("unusable", number < 0);
  if (number < 0 || (place.shown === number && place.look === look)) return;
  const { data, layout } = unpack(of.docs, number);
  const { shapes, meta, ...rest } = layout;
  const picture = JSON.stringify([data, rest]);
  let plot = place.querySelector("div.drawn");
  if (plot && place.picture === picture && place.look === look) {
    await Plotly.relayout(plot, { shapes: shapes ?? [], meta });
  } else {
    if (!plot) {
      place.querySelector("img")?.remove();
      plot = place.appendChild(Object.assign(document.createElement("div"), { className: "drawn" }));
    }
    await Plotly.react(plot, data, themed(layout, width, data), { displaylogo: false,
      modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
      modeBarButtonsToAdd: [{ name: "svg", title: "Download as SVG", icon: Plotly.Icons.disk,
        click: (plot) => Plotly.downloadImage(plot, { format: "svg", filename: file(meta), width: plot.offsetWidth, height: plot.offsetHeight }) }],
      toImageButtonOptions: { format: "png", filename: file(meta), scale: 2 } });
  }
  place.style.minHeight = `${plot.layout.height ?? 300}px`;
  place.setAttribute("aria-label", inert(meta?.alt ?? "figure"));
  Object.assign(place, { shown: number, look, picture });
}
const file = (meta) => meta?.file ?? "workbench";

function say(point) {
  $("error").innerHTML = page.errors[point] ?? "";
  for (const place of document.querySelectorAll(".said")) {
    const of = view("texts", place.dataset.view);
    const number = of ? numberOf(of, point) : -1;
    place.classList.toggle("unusable", number < 0);
    if (place.shown === number) continue;
    place.innerHTML = number < 0 ? "" : unpack(of.docs, number);
    place.shown = number;
  }
  const mail = view("mail", "mail");
  const number = mail ? numberOf(mail, point) : -1;
  $("mail").hidden = number < 0;
  $("mailtext").textContent = number < 0 ? "" : unpack(mail.docs, number);
  $("code").textContent = code();
}

// Tables: what is open is shown, all of it can be had as CSV.
function table(name, point) {
  const of = view("tables", name);
  const number = numberOf(of, point);
  return number < 0 ? null : unpack(of.docs, number);
}
const cell = (value) => (value === null ? "" : value === true ? "True" : value === false ? "False" : String(value));
const quoted = (text) => (/[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text);
function csv({ columns, data }) {
  const rows = (data[0] ?? []).map((_, row) => data.map((column) => quoted(cell(column[row]))).join(","));
  return [columns.map(quoted).join(","), ...rows].join("\n") + "\n";
}
function tabulate(point) {
  const places = new Map([...document.querySelectorAll("#tables details")].map((one) => [one.dataset.table, one]));
  for (const { kind, name } of page.views) {
    if (kind !== "tables") continue;
    let place = places.get(name);
    if (!place) { // one that the starting point has not
      place = $("tables").appendChild(document.createElement("details"));
      place.dataset.table = name;
      place.append(document.createElement("summary"));
      places.set(name, place);
    }
    if (!place.listening) place.addEventListener("toggle", () => tabulate(here));
    place.listening = true;
    const number = numberOf(view("tables", name), point);
    place.hidden = number < 0;
    if (place.hidden || place.shown === `${number} ${place.open}`) continue;
    place.shown = `${number} ${place.open}`;
    const found = table(name, point);
    const rows = found.data[0]?.length ?? 0;
    place.querySelector("summary").textContent = `${inert(name)}: ${rows.toLocaleString("en")} row${rows === 1 ? "" : "s"}`;
    while (place.children.length > 1) place.lastChild.remove();
    if (place.open) fill(place, name, found, rows);
  }
}
function fill(place, name, found, rows) {
  const button = Object.assign(document.createElement("button"), { type: "button", textContent: "CSV" });
  button.setAttribute("aria-label", `${inert(name)} as CSV`);
  button.addEventListener("click", () => save(`${name.replaceAll(/\W+/g, "-")}.csv`, csv(table(name, here))));
  const shown = document.createElement("table");
  const head = shown.createTHead().insertRow();
  const [first, ...lines] = rows > 0 && rows <= 6 && found.columns.length > 8
    ? found.columns.map((column, at) => [column, ...found.data[at]]) // few rows, many columns: on its side
    : [found.columns, ...Array.from({ length: Math.min(rows, ROWS_SHOWN) }, (_, at) => found.data.map((c) => c[at]))];
  for (const value of first) {
    const th = head.appendChild(document.createElement("th"));
    th.scope = "col";
    th.textContent = inert(cell(value));
  }
  const body = shown.createTBody();
  for (const line of lines) {
    const row = body.insertRow();
    for (const value of line) {
      const td = row.insertCell();
      td.textContent = td.title = inert(cell(value));
      if (typeof value === "number") td.className = "number";
    }
  }
  const scroll = Object.assign(document.createElement("div"), { className: "scroll", tabIndex: 0 });
  scroll.append(shown);
  place.append(button, scroll);
  if (rows > ROWS_SHOWN) place.append(`The first ${ROWS_SHOWN} rows; the CSV has all ${rows.toLocaleString("en")}.`);
}
function save(name, text) {
  const link = Object.assign(document.createElement("a"), {
    href: URL.createObjectURL(new Blob([text], { type: "text/csv" })), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

// This point as Python.
function literal(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(literal).join(", ")}]`;
  return JSON.stringify(value).replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu,
    (c) => `\\U${c.codePointAt(0).toString(16).padStart(8, "0")}`);
}
function code() {
  const state = { ...page.state };
  page.axes.forEach((axis, i) => { state[axis.name] = axis.values[places()[i]]; });
  const items = Object.entries(state).map(([name, value]) => `${literal(name)}: ${literal(value)}`).join(", ");
  return `from workbench import explorers\nexplorers.${page.explorer}.from_state({${items}})`;
}

// Controls and the address.
const control = (i) => $(`c${i}`);
const places = () => page.axes.map((axis, i) => (control(i).type === "checkbox"
  ? axis.values.indexOf(control(i).checked) : Number(control(i).value)));
function place(found) {
  found.forEach((at, i) => {
    const one = control(i), axis = page.axes[i];
    if (one.type === "checkbox") one.checked = axis.values[at];
    else one.value = at;
  });
  label();
}
function label() {
  places().forEach((at, i) => {
    const one = control(i), text = page.axes[i].labels[at];
    if (one.type !== "range") return;
    one.nextElementSibling.textContent = text;
    one.setAttribute("aria-valuetext", text);
  });
}
const starts = () => page.axes.map((axis) => axis.start);
function hash() {
  const found = new URLSearchParams();
  places().forEach((at, i) => found.set(page.axes[i].name, page.axes[i].keys[at]));
  return `#${found}`;
}
// Where an address points; what it asks for and the page has not is said, and the nearest taken.
function wanted() {
  const found = starts(), notes = [];
  for (const [name, value] of new URLSearchParams(location.hash.slice(1))) {
    const i = page.axes.findIndex((axis) => axis.name === name);
    if (i < 0) {
      notes.push(`This page has no control ${inert(name)}.`);
      continue;
    }
    const { keys, labels, label } = page.axes[i];
    if (keys.includes(value)) {
      found[i] = keys.indexOf(value);
      continue;
    }
    const number = /^-?[\d.]/.test(value) ? parseFloat(value) : NaN, numbers = keys.map(parseFloat);
    if (Number.isFinite(number) && numbers.every(Number.isFinite)) {
      const apart = numbers.map((one) => Math.abs(one - number));
      found[i] = apart.indexOf(Math.min(...apart));
    }
    notes.push(`${label}: ${inert(value).slice(0, 60)} was not computed; shown: ${labels[found[i]]}.`);
  }
  return [found, notes.join(" ")];
}
function follow() {
  const [found, note] = wanted();
  place(found);
  $("note").textContent = note;
  show();
}
const seen = (place) => { const { top, bottom } = place.getBoundingClientRect(); return bottom > 0 && top < innerHeight; };
// The newest point wins: figures in sight first, each in a turn of its own; a newer one ends the older.
async function show() {
  here = pointOf(places());
  const point = here;
  label();
  say(point);
  const all = [...document.querySelectorAll("figure.plot")];
  for (const one of [...all.filter(seen), ...all.filter((one) => !seen(one))]) {
    await draw(one, point);
    await new Promise((next) => setTimeout(next));
    if (here !== point) return;
    if (!performance.getEntriesByName("first figure").length) performance.mark("first figure");
  }
  tabulate(point);
  document.body.dataset.shown = point;
}
let due = false;
function soon() {
  label();
  if (due) return;
  due = true;
  setTimeout(() => { due = false; $("note").textContent = ""; show(); });
}
function settle() { // one entry in the history for each value that a control came to rest at
  soon();
  if (hash() !== location.hash) history.pushState(null, "", hash());
}

async function start() {
  const library = gunzip("plotly"); // both are unpacked at once
  page = JSON.parse(await gunzip("points"));
  place(wanted()[0]);
  $("controls").hidden = false;
  const script = document.createElement("script");
  script.nonce = nonce;
  script.textContent = await library;
  document.head.append(script);
  $("controls").addEventListener("input", soon);
  $("controls").addEventListener("change", settle);
  $("controls").addEventListener("submit", (event) => event.preventDefault());
  $("reset").addEventListener("click", () => { place(starts()); settle(); });
  addEventListener("popstate", follow);
  addEventListener("resize", show);
  dark.addEventListener("change", show);
  for (const event of ["beforeprint", "afterprint"]) addEventListener(event, () => { // at once: paper does not wait
    printing = event === "beforeprint";
    for (const one of document.querySelectorAll("figure.plot")) draw(one, here);
  });
  for (const button of document.querySelectorAll(".copy")) {
    button.hidden = !navigator.clipboard;
    button.addEventListener("click", () => navigator.clipboard.writeText($(button.dataset.of).textContent)
      .then(() => { button.textContent = "Copied"; setTimeout(() => { button.textContent = "Copy"; }, 2000); }));
  }
  follow();
}
start();
