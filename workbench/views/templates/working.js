// Says that the kernel computes, and for how long, once that takes longer than a blink; Stop interrupts it.
const PATIENCE_MS = 500;

function render({ model, el }) {
  const text = document.createElement("span");
  const stop = document.createElement("button");
  text.setAttribute("role", "status");
  stop.textContent = "Stop";
  stop.className = "jupyter-button";
  stop.title = "Interrupts the Jupyter kernel";
  stop.style.marginLeft = "12px";
  el.append(text, stop);
  el.className += " workbench-working";
  let timer = null;
  let why = "";

  const change = () => {
    clearInterval(timer);
    why = "";
    el.hidden = stop.disabled = true;
    const start = performance.now();
    const tick = () => {
      const passed = performance.now() - start;
      if (passed < PATIENCE_MS) return;
      if (el.closest(".jupyter-widgets-disconnected")) return void change.off();
      el.hidden = false;
      stop.disabled = Boolean(why);
      text.textContent = `computing ... ${(passed / 1000).toFixed(1)} s${why}`;
    };
    if (model.get("busy")) timer = setInterval(tick, 100);
  };
  change.off = () => {
    clearInterval(timer);
    el.hidden = true;
  };
  stop.addEventListener("click", async () => {
    why = ", stopping";
    try {
      await model.widget_manager.kernel.interrupt();
    } catch {
      why = "; it cannot be stopped from here";
    }
  });
  model.on("change:busy", change);
  change();
  return () => {
    clearInterval(timer);
    model.off("change:busy", change);
  };
}

export default { render };
