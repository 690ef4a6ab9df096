"use strict";

// Figures, each from the JSON that follows its place.
const plots = [...document.querySelectorAll(".plot")];
for (const plot of plots) {
  const figure = JSON.parse(plot.nextElementSibling.textContent);
  // A finger that drags over a figure scrolls the page.
  figure.layout.dragmode = matchMedia("(pointer: coarse)").matches ? false : "zoom";
  Plotly.newPlot(plot, figure.data, figure.layout, {
    responsive: true,
    displaylogo: false,
    displayModeBar: matchMedia("(hover: none)").matches ? false : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  });
}

// Paper is narrower than most windows.
const PAPER_PX = 660;
addEventListener("beforeprint", () => plots.forEach((plot) => {
  const paired = plot.parentElement.classList.contains("pair");
  Plotly.relayout(plot, { width: paired ? PAPER_PX / 2 - 10 : PAPER_PX });
}));
addEventListener("afterprint", () => plots.forEach((plot) => {
  Plotly.relayout(plot, { width: null, autosize: true });
}));

// Tables: a click on a column's name sorts by it, another turns the order round.
function sortBy(table, column, ascending) {
  const key = (row) => row.cells[column].dataset.sort;
  const numbers = table.tHead.rows[0].cells[column].classList.contains("number");
  const body = table.tBodies[0];
  const known = [...body.rows].filter((row) => key(row) !== "");
  const unknown = [...body.rows].filter((row) => key(row) === "");
  known.sort((a, b) => numbers
    ? Number(key(a)) - Number(key(b))
    : key(a).localeCompare(key(b), undefined, { numeric: true }));
  body.append(...(ascending ? known : known.reverse()), ...unknown);
}

for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const ascending = head.getAttribute("aria-sort") !== "ascending";
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", ascending ? "ascending" : "descending");
    sortBy(table, column, ascending);
  }));
}
