// Comforts only: the page is complete without this. Sorting by a column, values under the pointer,
// a picker for the models, everything unfolded on paper.
"use strict";
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Tables: a click on a column's name sorts by it, a second one turns the order.
  for (const table of all("table.sortable")) {
    const heads = all("thead th", table);
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const descending = head.getAttribute("aria-sort") !== "descending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", descending ? "descending" : "ascending");
        const key = (row) => {
          const cell = row.cells[column];
          const value = cell.dataset.v;
          return value === undefined ? cell.textContent.trim() : value === "" ? null : Number(value);
        };
        const rows = all("tbody tr", table);
        rows.sort((first, second) => {
          const a = key(first);
          const b = key(second);
          // What is not estimable stays at the end, whichever way the rest is turned.
          if (a === null || b === null) return (a === null) - (b === null);
          const order = typeof a === "number" && typeof b === "number" ? a - b
            : String(a).localeCompare(String(b));
          return descending ? -order : order;
        });
        table.tBodies[0].append(...rows);
      });
    });
  }

  // Values under the pointer. A mark's <title> moves into its data, so that it is not shown twice.
  const tip = document.createElement("div");
  tip.id = "tip";
  tip.hidden = true;
  document.body.append(tip);
  for (const title of all("svg.fig title")) {
    const mark = title.parentNode;
    if (mark.tagName === "svg") continue;
    mark.dataset.tip = title.textContent;
    title.remove();
  }
  const show = (text, x, y) => {
    tip.textContent = text;
    tip.hidden = text === "";
    const box = tip.getBoundingClientRect();
    tip.style.left = Math.max(4, Math.min(x + 14, innerWidth - box.width - 8)) + "px";
    tip.style.top = (y + 18 + box.height > innerHeight ? y - box.height - 10 : y + 18) + "px";
  };
  // On a curve: the value at the pointer's place along x, of the curve nearest to it.
  const readPlot = (plot, event) => {
    const [left, top, width, height] = plot.dataset.frame.split(" ").map(Number);
    const [x0, x1, y0, y1] = plot.dataset.range.split(" ").map(Number);
    const matrix = plot.ownerSVGElement.getScreenCTM();
    if (!matrix) return "";
    const at = new DOMPoint(event.clientX, event.clientY).matrixTransform(matrix.inverse());
    let best = null;
    for (const curve of all("path.curve", plot)) {
      const points = curve.getAttribute("d").slice(1).split(/[ML]/).map((p) => p.split(" ").map(Number));
      for (const [x, y] of points) {
        const distance = Math.hypot(x - at.x, (y - at.y) * 0.3);
        if (!best || distance < best.distance) best = { distance, x, y };
      }
    }
    if (!best) return "";
    const x = x0 + (best.x - left) / width * (x1 - x0);
    const y = y0 + (top + height - best.y) / height * (y1 - y0);
    const digits = x1 - x0 > 2 ? 0 : 2;
    return `${plot.dataset.x} ${x.toFixed(digits)}, ${plot.dataset.y} ${y.toFixed(3)}`;
  };
  document.addEventListener("pointermove", (event) => {
    const mark = event.target.closest ? event.target.closest("[data-tip]") : null;
    if (mark) return show(mark.dataset.tip, event.clientX, event.clientY);
    const plot = event.target.closest ? event.target.closest(".plot") : null;
    if (plot) return show(readPlot(plot, event), event.clientX, event.clientY);
    tip.hidden = true;
  }, { passive: true });

  // The picker leaves one model in view.
  const picker = document.getElementById("pick");
  if (picker) {
    const models = all("#models details.model");
    for (const model of models) {
      const option = document.createElement("option");
      option.value = model.id;
      option.textContent = model.querySelector("summary b").textContent;
      picker.append(option);
    }
    picker.addEventListener("change", () => {
      for (const model of models) {
        model.hidden = picker.value !== "" && model.id !== picker.value;
        if (model.id === picker.value) model.open = true;
      }
    });
    picker.closest(".picker").hidden = models.length < 2;
  }

  // Links into a folded model unfold it.
  const unfold = () => {
    const target = location.hash.length > 1 ? document.getElementById(location.hash.slice(1)) : null;
    if (target && target.tagName === "DETAILS") target.open = true;
  };
  addEventListener("hashchange", unfold);
  unfold();

  let folded = [];
  addEventListener("beforeprint", () => {
    folded = all("details.model:not([open])");
    for (const model of folded) model.open = true;
  });
  addEventListener("afterprint", () => {
    for (const model of folded) model.open = false;
  });
})();
