// A line that opens: a mail, the state, a CSV of each table. Text is always there; the clipboard only helps.
function render({ model, el }) {
  const make = (tag, traits = {}, ...children) => {
    const made = Object.assign(document.createElement(tag), traits);
    made.append(...children);
    return made;
  };
  const said = make("span", { role: "status" });
  said.style.marginLeft = "8px";
  const copy = async (place) => {
    try {
      await navigator.clipboard.writeText(place.value);
      said.textContent = "copied";
    } catch { // no clipboard on this page
      place.focus();
      place.select();
      said.textContent = document.execCommand("copy") ? "copied" : "selected: copy it with the keyboard";
    }
  };
  const button = (text, act, title = "") => {
    const made = make("button", { textContent: text, title, className: "jupyter-button" });
    made.style.margin = "2px 8px 2px 0";
    made.addEventListener("click", () => {
      said.textContent = "";
      made.after(said); // what becomes of it is said where it was pressed
      act();
    });
    return made;
  };
  const field = (tag, name, rows) => {
    const made = make(tag, { readOnly: true, spellcheck: false });
    if (rows) made.rows = rows;
    if (rows) Object.assign(made.style, { whiteSpace: "pre", overflowX: "auto" }); // columns stay columns
    made.setAttribute("aria-label", name);
    Object.assign(made.style, { display: "block", boxSizing: "border-box", width: "100%", maxWidth: "80ch",
      margin: "2px 0", font: "12px/1.35 'DejaVu Sans Mono', monospace", color: "inherit",
      background: "transparent", border: "1px solid rgba(128,128,128,0.5)" });
    return made;
  };
  const mail = field("textarea", "mail", 16);
  const state = field("input", "state");
  const python = field("textarea", "Python that restores the state", 2);
  const tables = make("div");
  const box = make("details", {}, make("summary", { textContent: "Share: mail, state, CSV, pictures" }),
    mail, button("Copy as mail", () => copy(mail)), state, button("Copy state", () => copy(state)),
    python, button("Copy as Python", () => copy(python)), tables);
  box.dataset.lmSuppressShortcuts = "true"; // JupyterLab's own keys
  box.style.margin = "4px 2px 8px";
  el.append(box);

  const show = () => {
    const shown = model.get("shown");
    mail.value = shown.mail ?? "...";
    state.value = shown.state ?? "";
    python.value = shown.python ?? "";
    said.textContent = "";
    tables.replaceChildren(...(shown.tables ?? []).map((name) =>
      button(`CSV: ${name}`, () => model.send({ csv: name }), "Downloads the table; integers are exact")));
    tables.append("PNG and SVG: in the bar at the top right of each figure.");
  };
  const opened = () => { box.open = model.get("is_open"); };
  box.addEventListener("toggle", () => {
    if (box.open === model.get("is_open")) return;
    model.set("is_open", box.open);
    model.save_changes();
  });
  const save = ({ file, text }) => {
    const link = make("a", { download: file, href: URL.createObjectURL(new Blob([text], { type: "text/csv" })) });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10000);
    said.textContent = `saved ${file}`;
  };
  model.on("change:shown", show);
  model.on("change:is_open", opened);
  model.on("msg:custom", save);
  opened();
  show();
  return () => {
    model.off("change:shown", show);
    model.off("change:is_open", opened);
    model.off("msg:custom", save);
  };
}

export default { render };
