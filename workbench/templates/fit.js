// A figure at the width there is: its legend's rows decide its height.
function fit(layout, width) {
  layout.width = width;
  if (!layout.meta?.legend) return;
  const { l, r } = layout.margin; // plotly gives a legend the width of the plot
  const rows = Math.ceil(layout.meta.legend / (width - l - r - 30));
  layout.margin = { ...layout.margin, b: 62 + 30 * rows };
  layout.height = layout.meta.high + 30 * rows;
}
