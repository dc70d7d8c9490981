// A click on a table's head sorts by that column, another turns the order round; what is empty stays last.
for (const button of document.querySelectorAll("th button")) {
  button.addEventListener("click", () => {
    const head = button.parentElement;
    const column = head.cellIndex;
    const body = head.closest("table").tBodies[0];
    const descending = head.getAttribute("aria-sort") === "ascending";
    const key = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
    const compare = (a, b) => (!isNaN(a) && !isNaN(b) ? a - b : a.localeCompare(b)) * (descending ? -1 : 1);
    const isEmpty = (row) => key(row) === "";
    const filled = [...body.rows].filter((row) => !isEmpty(row)).sort((a, b) => compare(key(a), key(b)));
    const rows = [...filled, ...[...body.rows].filter(isEmpty)];
    for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", descending ? "descending" : "ascending");
    body.append(...rows);
  });
}

// Paper cannot be unfolded.
addEventListener("beforeprint", () => {
  for (const folded of document.querySelectorAll("details:not(.long)")) folded.open = true;
});
