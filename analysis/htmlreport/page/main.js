// The page begins here.

function saveHash() {
  const parts = [];
  if (!isWhole()) parts.push("t=" + shown.from.toFixed(6).replace(/0+$/, "0") + "," + shown.to.toFixed(6).replace(/0+$/, "0"));
  if (table.chosen >= 0 && connections.id[table.chosen]) parts.push("c=" + connections.id[table.chosen]);
  history.replaceState(null, "", parts.length ? "#" + parts.join("&") : location.pathname + location.search);
}

// followHash goes where a link leads: #c=ID, #t=FROM,TO, or both.
function followHash() {
  const parts = new Map(location.hash.slice(1).split("&").map((p) => p.split("=")));
  const range = (parts.get("t") || "").split(",").map(Number);
  if (range.length === 2 && range.every(Number.isFinite) && range[1] > range[0]) {
    show(range[0], range[1], true);
    if (!parts.has("c")) byId("time").scrollIntoView();
  }
  const id = Number(parts.get("c"));
  if (id > 0) {
    const i = connections.id.indexOf(id);
    if (i >= 0) choose(i, true);
    else byId("lanes-note").textContent = "connection " + id + " is not in this page; acc analyze --connection " + id + " has it";
    byId("lanes").scrollIntoView();
  }
}

function showRange() {
  const wide = shown.to - shown.from, digits = places(wide / 100);
  byId("range-text").textContent = clock(shown.from, digits) + " – " + clock(shown.to, digits) + " (" + duration(wide) + ")";
  byId("reset").disabled = isWhole();
}

function download() {
  const button = byId("download"), url = URL.createObjectURL(new Blob([bytesOf("acc-capture")], { type: "application/octet-stream" }));
  const link = element("a", { href: url, download: button.dataset.name });
  document.body.append(link);
  link.click();
  link.remove();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}

function repaint() {
  hatchPattern = null;
  colors.clear();
  repaintCharts();
  askLanes();
}

async function start() {
  if (byId("download")) {
    byId("download").hidden = false;
    byId("download").addEventListener("click", download);
  }
  const [text, bytes] = await Promise.all([unpack("acc-page"), unpack("acc-rows")]);
  page = JSON.parse(new TextDecoder().decode(text));
  connections = connectionsOf(readColumns(bytes, page.rows), page);
  for (const e of document.querySelectorAll(".js")) e.hidden = false;
  document.body.classList.add("scripted");
  shown.to = wholeTime().to;
  const began = performance.now();
  drawCharts();
  startLanes();
  startTable();
  shown.followers.push(showRange);
  showRange();
  document.documentElement.dataset.drawn = (performance.now() - began).toFixed(0);
  byId("reset").addEventListener("click", () => show(0, wholeTime().to));
  byId("zoom-in").addEventListener("click", () => zoom(.5));
  byId("zoom-out").addEventListener("click", () => zoom(2));
  byId("pan-left").addEventListener("click", () => pan(-.25));
  byId("pan-right").addEventListener("click", () => pan(.25));
  document.addEventListener("keydown", (e) => { if (e.key === "Escape") closeStory(); });
  addEventListener("hashchange", followHash);
  let timer = 0;
  addEventListener("resize", () => { clearTimeout(timer); timer = setTimeout(() => { resizeCharts(); askLanes(true); fillTable(true); }, 100); });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
  matchMedia("print").addEventListener("change", () => { repaint(); paintLanes(); });
  followHash();
}

start().catch((err) => {
  byId("main").prepend(element("p", { class: "doubt" }, "This browser can't draw the charts of this page (" + err + "). The findings and tables are complete."));
});
