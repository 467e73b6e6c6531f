"use strict";
// The page is whole without this: it adds sorting and a choice of light or dark.
for (const table of document.querySelectorAll("table.settings")) {
  const rows = [...table.tBodies[0].rows];
  const heads = [...table.tHead.rows[0].cells];
  const value = (row, column) => {
    const text = row.cells[column].dataset.order;
    return text === "" || isNaN(text) ? text : Number(text);
  };
  const compare = (a, b) =>
    typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b));
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      // Largest first, smallest first, then as it was.
      const next = { none: "descending", descending: "ascending", ascending: "none" };
      const order = next[head.getAttribute("aria-sort") ?? "none"];
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      if (order !== "none") head.setAttribute("aria-sort", order);
      const sorted = [...rows];
      if (order !== "none") {
        const sign = order === "ascending" ? 1 : -1;
        sorted.sort((a, b) => {
          const [x, y] = [value(a, column), value(b, column)];
          return x === "" || y === "" ? (x === "") - (y === "") : sign * compare(x, y);
        });
      }
      table.tBodies[0].append(...sorted);
    });
  });
}
const themes = ["auto", "light", "dark"];
const button = document.createElement("button");
button.id = "theme";
button.type = "button";
const show = (theme) => {
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  button.textContent = `Theme: ${theme}`;
};
button.addEventListener("click", () => {
  const now = document.documentElement.dataset.theme ?? "auto";
  show(themes[(themes.indexOf(now) + 1) % themes.length]);
});
show("auto");
document.querySelector("header").append(button);
