"use strict";
(() => {
  const STEP = 200;
  const table = JSON.parse(document.getElementById("data").textContent);
  const head = document.querySelector("#points thead");
  const body = document.querySelector("#points tbody");
  const filter = document.getElementById("filter");
  const more = document.getElementById("more");
  const stateAt = table.columns.indexOf("state");
  let sort = { at: -1, down: false };
  let limit = STEP;

  const text = (value) => {
    if (value === null) return "–";
    if (typeof value !== "number" || Number.isInteger(value)) return String(value);
    const large = Math.abs(value) >= 1e5 && Math.abs(value) < 1e15; // a moment in seconds, say
    return String(Number(large ? value.toFixed(3) : value.toPrecision(6)));
  };
  const compare = (a, b) => {
    if (typeof a === "number" && typeof b === "number") return a - b;
    return String(a).localeCompare(String(b), "en", { numeric: true });
  };
  const NAMES = [...table.columns].sort((a, b) => b.length - a.length) // names with spaces too, the longest first
    .map((name) => name.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  const CONDITION = new RegExp(`(?<!\\S)("[^"]*"|${NAMES})\\s*(<=|>=|!=|=|<|>)\\s*("[^"]*"|\\S+)`, "g");
  const TESTS = {
    "<": (order) => order < 0, "<=": (order) => order <= 0, ">": (order) => order > 0,
    ">=": (order) => order >= 0, "=": (order) => order === 0, "!=": (order) => order !== 0,
  };

  function reader(query) {
    const conditions = [];
    const rest = query.replace(CONDITION, (whole, name, sign, wanted) => {
      const plain = table.columns.indexOf(name);
      const at = plain < 0 ? table.columns.indexOf(name.replace(/^"|"$/g, "")) : plain;
      if (at < 0) return whole;
      const bare = wanted.replace(/^"|"$/g, "");
      const number = Number(bare);
      conditions.push((row) => {
        const value = row[at];
        if (value === null) return false;
        return TESTS[sign](typeof value === "number" && !Number.isNaN(number) ? value - number : compare(value, bare));
      });
      return " ";
    });
    const words = rest.toLowerCase().split(/\s+/).filter(Boolean);
    return (row) => conditions.every((one) => one(row))
      && words.every((word) => row.some((value) => text(value).toLowerCase().includes(word)));
  }

  function chosen() {
    const rows = table.rows.filter(reader(filter.value));
    if (sort.at < 0) return rows;
    const side = sort.down ? -1 : 1;
    return rows
      .map((row, place) => [row, place])
      .sort(([a, i], [b, j]) => {
        const x = a[sort.at], y = b[sort.at];
        if (x === null || y === null) return (x === null) - (y === null) || i - j;
        return side * compare(x, y) || i - j;
      })
      .map(([row]) => row);
  }

  function show() {
    const rows = chosen();
    document.getElementById("count").textContent = `${rows.length} of ${table.rows.length}`;
    body.replaceChildren(...rows.slice(0, limit).map((row) => {
      const line = document.createElement("tr");
      if (stateAt >= 0 && row[stateAt] !== "succeeded") line.className = "bad";
      row.forEach((value) => {
        const cell = document.createElement("td");
        cell.textContent = text(value);
        cell.title = value === null ? "" : String(value);
        line.append(cell);
      });
      return line;
    }));
    more.hidden = rows.length <= limit;
    [...head.querySelectorAll("th")].forEach((cell, at) => {
      cell.setAttribute("aria-sort", at !== sort.at ? "none" : sort.down ? "descending" : "ascending");
    });
  }

  const heading = document.createElement("tr");
  table.columns.forEach((name, at) => {
    const cell = document.createElement("th");
    cell.textContent = name;
    cell.tabIndex = 0;
    const turn = () => {
      sort = { at, down: sort.at === at ? !sort.down : false };
      limit = STEP;
      show();
    };
    cell.addEventListener("click", turn);
    cell.addEventListener("keydown", (event) => { if (event.key === "Enter") turn(); });
    heading.append(cell);
  });
  head.append(heading);
  filter.addEventListener("input", () => { limit = STEP; show(); });
  more.addEventListener("click", () => { limit += 5 * STEP; show(); });
  show();

  const tip = document.getElementById("tip");
  document.querySelectorAll("figure").forEach((figure) => {
    const marks = JSON.parse(figure.querySelector("script").textContent);
    const picture = figure.querySelector(".picture");
    const dot = document.createElement("div");
    dot.className = "dot";
    dot.hidden = true;
    picture.append(dot);
    const leave = () => { tip.hidden = true; dot.hidden = true; };
    picture.addEventListener("mouseleave", leave);
    picture.addEventListener("mousemove", (event) => {
      const box = picture.getBoundingClientRect();
      let best = null, least = 28 * 28;
      for (const mark of marks) {
        const dx = mark[0] * box.width - (event.clientX - box.left);
        const dy = mark[1] * box.height - (event.clientY - box.top);
        const far = dx * dx + dy * dy;
        if (far < least) { least = far; best = mark; }
      }
      if (!best) { leave(); return; }
      dot.style.left = `${100 * best[0]}%`;
      dot.style.top = `${100 * best[1]}%`;
      dot.hidden = false;
      tip.textContent = best[2];
      tip.style.left = `${Math.min(event.clientX + 14, Math.max(0, window.innerWidth - 430))}px`;
      tip.style.top = `${event.clientY + 16}px`;
      tip.hidden = false;
    });
  });
})();
