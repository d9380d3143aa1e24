// The table of connections: searched, sorted, and only as much of it in the page as can be seen.

const rowHeight = 29;
const tableColumns = [
  ["id", "n", 92, (i) => connections.id[i] ? count(connections.id[i]) : "-", (i) => connections.id[i]],
  ["began", "", 156, (i) => clock(connections.began[i], 6), (i) => connections.began[i]],
  ["client", "", 190, (i) => clientOf(i), (i) => clientOf(i)],
  ["listener", "", 170, (i) => page.listeners[connections.listener[i]], (i) => page.listeners[connections.listener[i]]],
  ["process", "", 130, (i) => processOf(i), (i) => processOf(i)],
  ["queued", "n", 92, (i) => (connections.flags[i] & flag.atLeast ? "≥" : "") + duration(connections.wait[i]), (i) => connections.wait[i]],
  ["served", "n", 92, (i) => duration(connections.served[i]), (i) => connections.served[i]],
  ["in", "n", 88, (i) => size(connections.in[i]), (i) => connections.in[i]],
  ["out", "n", 88, (i) => size(connections.out[i]), (i) => connections.out[i]],
  ["end", "", 0, endOf, endOf],
];
const table = { rows: [], sort: "began", down: false, body: null, chosen: -1 };

// conditionOf reads a word like queued>10ms; null if it is none.
function conditionOf(word) {
  const m = /^(queued|served|in|out|refused)([<>])(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|b|k|kb|kib|mb|mib)?$/.exec(word);
  if (!m) return null;
  const units = { ns: 1e-9, us: 1e-6, "µs": 1e-6, ms: 1e-3, s: 1, m: m[1] === "in" || m[1] === "out" ? 1048576 : 60, b: 1, k: 1024, kb: 1024, kib: 1024, mb: 1048576, mib: 1048576 };
  const limit = Number(m[3]) * (m[4] ? units[m[4]] : 1), list = connections[m[1] === "queued" ? "wait" : m[1]];
  return m[2] === ">" ? (i) => list[i] > limit : (i) => list[i] < limit && list[i] >= 0;
}

function searchTable() {
  const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
  const conditions = [], texts = [];
  let wrong = false;
  for (const w of words) {
    const condition = conditionOf(w);
    if (condition) conditions.push(condition);
    else {
      wrong = wrong || /^(queued|served|in|out|refused)[<>]/.test(w);
      texts.push(w);
    }
  }
  byId("search").classList.toggle("wrong", wrong);
  const bad = byId("only-bad").checked, ranged = byId("in-range").checked, c = connections;
  const lower = (list) => list.map((s) => s.toLowerCase());
  const names = { listeners: lower(page.listeners), processes: lower(page.processes), ends: page.ends.map((e) => e[0].toLowerCase()) };
  const rows = [];
  for (let i = 0; i < c.n; i++) {
    if (ranged && (c.end[i] < shown.from || c.began[i] > shown.to)) continue;
    if (bad && !isBad(i)) continue;
    if (!conditions.every((f) => f(i))) continue;
    if (texts.length) {
      const text = c.id[i] + " " + clientOf(i) + " " + names.listeners[c.listener[i]] + " " + (c.process[i] ? names.processes[c.process[i] - 1] : "") + " " + names.ends[c.ending[i]];
      if (!texts.every((w) => text.includes(w))) continue;
    }
    rows.push(i);
  }
  table.rows = rows;
  sortTable();
  byId("table-note").textContent = (wrong ? "A condition is like queued>10ms. " : "") + count(rows.length) + " of " + count(c.n) + " connections";
}

function sortTable() {
  const [, kind, , , value] = tableColumns.find((c) => c[0] === table.sort), sign = table.down ? -1 : 1;
  const values = [];
  if (table.sort !== "began" || table.down) for (const i of table.rows) values[i] = value(i); // else they are in order
  if (values.length) table.rows.sort((a, b) => {
    const x = values[a], y = values[b];
    if (typeof x === "string") return sign * (x < y ? -1 : x > y ? 1 : a - b);
    if (isNaN(x) || isNaN(y)) return (isNaN(x) ? 1 : 0) - (isNaN(y) ? 1 : 0) || a - b; // what is not known stands last
    return sign * (x - y) || a - b;
  });
  for (const th of document.querySelectorAll("#table-scroll th")) {
    const mine = th.dataset.name === table.sort;
    th.setAttribute("aria-sort", mine ? (table.down ? "descending" : "ascending") : "none");
    th.querySelector("span").textContent = mine ? (table.down ? " ▼" : " ▲") : "";
  }
  fillTable(true);
}

// fillTable puts the rows that can be seen into the page.
function fillTable(anew) {
  const box = byId("table-scroll"), n = table.rows.length;
  const first = Math.max(0, Math.floor(box.scrollTop / rowHeight) - 10), last = Math.min(n, first + Math.ceil(box.clientHeight / rowHeight) + 20);
  if (!anew && first === table.first && last === table.last) return;
  const focused = document.activeElement && document.activeElement.dataset ? document.activeElement.dataset.row : undefined;
  table.first = first;
  table.last = last;
  const space = (rows) => {
    const td = element("td", { colspan: String(tableColumns.length) });
    td.style.height = rows * rowHeight + "px";
    return element("tr", { class: "space", "aria-hidden": "true" }, td);
  };
  const rows = [space(first)];
  for (let at = first; at < last; at++) {
    const i = table.rows[at];
    const tr = element("tr", { tabindex: at === first || i === table.chosen ? "0" : "-1", "data-row": String(i), "data-at": String(at), "aria-rowindex": String(at + 2), class: i === table.chosen ? "chosen" : "" });
    for (const [name, kind, , text] of tableColumns) {
      const bad = name === "end" && isBad(i), words = text(i);
      tr.append(element("td", { class: (kind + (bad ? " bad" : "")).trim(), title: kind === "" && words.length > 18 ? words : null }, words));
    }
    rows.push(tr);
  }
  rows.push(space(n - last));
  table.body.replaceChildren(...rows);
  if (focused !== undefined) {
    const tr = table.body.querySelector('tr[data-row="' + CSS.escape(focused) + '"]');
    if (tr) tr.focus({ preventScroll: true });
  }
}

// toRow scrolls so that a place of the table can be seen, and gives its row.
function toRow(at) {
  const box = byId("table-scroll"), head = 34, y = at * rowHeight;
  if (y < box.scrollTop) box.scrollTop = y;
  else if (y + rowHeight + head > box.scrollTop + box.clientHeight) box.scrollTop = y + rowHeight + head - box.clientHeight;
  fillTable(false);
  return table.body.querySelector('tr[data-at="' + at + '"]');
}

function startTable() {
  const box = byId("table-scroll");
  const heads = tableColumns.map(([name, kind]) => element("th", { class: kind, scope: "col", "data-name": name }, element("button", {
    type: "button", onclick: () => {
      if (table.sort === name) table.down = !table.down;
      else [table.sort, table.down] = [name, kind === "n" && name !== "id"];
      box.scrollTop = 0;
      sortTable();
    },
  }, name, element("span", {}))));
  const columns = tableColumns.map(([, , width]) => {
    const col = document.createElement("col");
    if (width) col.style.width = width + "px";
    return col;
  });
  table.body = document.createElement("tbody");
  box.append(element("table", { "aria-rowcount": String(connections.n + 1) }, element("colgroup", {}, ...columns), element("thead", {}, element("tr", {}, ...heads)), table.body));
  const rowOf = (e) => e.target.closest("tr[data-row]");
  table.body.addEventListener("click", (e) => { const tr = rowOf(e); if (tr) choose(Number(tr.dataset.row)); });
  table.body.addEventListener("keydown", (e) => {
    const tr = rowOf(e), steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 14, PageUp: -14, Home: -1e9, End: 1e9 };
    if (!tr) return;
    if (e.key === "Enter") choose(Number(tr.dataset.row));
    else if (steps[e.key]) {
      const next = toRow(Math.min(Math.max(Number(tr.dataset.at) + steps[e.key], 0), table.rows.length - 1));
      if (next) next.focus({ preventScroll: true });
    } else return;
    e.preventDefault();
  });
  box.addEventListener("scroll", () => fillTable(false));
  let timer = 0;
  const soon = () => { clearTimeout(timer); timer = setTimeout(() => { box.scrollTop = 0; searchTable(); }, 120); };
  byId("search").addEventListener("input", soon);
  byId("only-bad").addEventListener("change", searchTable);
  byId("in-range").addEventListener("change", searchTable);
  byId("search-form").addEventListener("submit", (e) => e.preventDefault());
  shown.followers.push(() => { if (byId("in-range").checked) soon(); });
  searchTable();
}
