// The story of one connection, at the side.

function choose(i, keepHash) {
  lanes.chosen = table.chosen = i;
  tellStory(i);
  noteLane(i);
  inView(i);
  askLanes(true);
  fillTable(true);
  if (!keepHash) saveHash();
}

function closeStory() {
  const box = byId("story");
  if (box.hidden) return;
  box.hidden = true;
  lanes.chosen = table.chosen = -1;
  noteLane(-1);
  askLanes();
  fillTable(true);
  saveHash();
  if (closeStory.back && closeStory.back.isConnected) closeStory.back.focus({ preventScroll: true });
}

// stepsOf are the moments of a connection that the page knows.
function stepsOf(i) {
  const c = connections, list = [];
  const add = (t, text) => { if (!isNaN(t)) list.push([t, text]); };
  if (c.flags[i] & flag.before) add(c.began[i], "it was there when the recording began");
  else if (c.refused[i]) add(c.began[i], "its first packet was dropped: a queue was full");
  else if (isNaN(c.queued[i]) || c.queued[i] > c.began[i]) add(c.began[i], isNaN(c.queued[i]) ? "first event" : "its first SYN was answered");
  add(c.queued[i], "put into the accept queue");
  add(c.accepted[i], "accepted by " + processOf(i) + (c.flags[i] & flag.dead ? ": it was dead already" : ""));
  add(c.clientFIN[i], "the client sent FIN" + (c.clientFIN[i] < c.accepted[i] ? " before it was accepted" : ""));
  add(c.serverEnd[i], "the server closed it");
  add(c.end[i], page.ends[c.ending[i]][0]);
  return list.sort((a, b) => a[0] - b[0]);
}

function barOf(i) {
  const c = connections, bar = element("div", { class: "bar", "aria-hidden": "true" });
  const whole = c.end[i] - c.began[i];
  const add = (name, a, b) => {
    if (!(b > a) || !(whole > 0)) return;
    const part = element("i", { class: name });
    part.style.width = (b - a) / whole * 100 + "%";
    bar.append(part);
  };
  const accepted = isNaN(c.accepted[i]) ? c.end[i] : c.accepted[i], served = isNaN(c.serverEnd[i]) ? c.end[i] : c.serverEnd[i];
  if (isNaN(c.queued[i])) add(c.refused[i] ? "handshake" : "served", c.began[i], served);
  else {
    add("handshake", c.began[i], c.queued[i]);
    add("queued", c.queued[i], accepted);
    if (!isNaN(c.accepted[i])) add("served", accepted, served);
  }
  if (!isNaN(c.serverEnd[i])) add("closing", c.serverEnd[i], c.end[i]);
  return bar;
}

function tellStory(i) {
  const c = connections, box = byId("story"), id = c.id[i];
  if (box.hidden) closeStory.back = document.activeElement;
  const rows = [];
  let last = NaN;
  for (const [t, text] of stepsOf(i)) {
    rows.push(element("tr", {}, element("td", { class: "w" }, clock(t, 6)), element("td", {}, text), element("td", { class: "w dim" }, isNaN(last) ? "" : "+" + duration(Math.max(t - last, 0)))));
    last = t;
  }
  const facts = [["listener", page.listeners[c.listener[i]]], ["in the accept queue", (c.flags[i] & flag.atLeast ? "at least " : "") + duration(c.wait[i])], ["served for", duration(c.served[i])],
    ["bytes in, out", size(c.in[i]) + ", " + size(c.out[i])], ["segments sent again", c.again[i] < 0 ? "-" : count(c.again[i])], ["packets refused", count(c.refused[i])]];
  const list = element("dl", { class: "facts" });
  for (const [head, text] of facts) list.append(element("dt", {}, head), element("dd", {}, text));
  const whole = page.stories[String(id)];
  const file = decodeURIComponent(location.pathname.split("/").pop() || "report.html");
  const near = element("button", { type: "button", onclick: () => {
    const pad = Math.max((c.end[i] - c.began[i]) * .3, 1e-4);
    show(c.began[i] - pad, c.end[i] + pad);
    choose(i);
  } }, "Zoom to it");
  const others = element("button", { type: "button", onclick: () => {
    byId("search").value = page.clients[c.client[i]];
    byId("in-range").checked = false;
    searchTable();
    byId("connections").scrollIntoView();
  } }, "All of this client");
  box.replaceChildren(...[
    element("button", { type: "button", class: "close", onclick: closeStory, "aria-label": "Close (Escape)" }, "Close"),
    element("h2", { tabindex: "-1" }, (id ? "Connection " + id : "A connection without an event") + ": " + clientOf(i)),
    element("p", { class: "verdict" + (isBad(i) ? " bad" : "") }, endOf(i)),
    barOf(i), element("table", {}, element("tbody", {}, ...rows)), element("div", { class: "moves" }, near, others), list,
    whole ? element("div", {}, element("h3", {}, "The whole story"), element("pre", {}, whole)) : null,
    id ? element("p", { class: "dim" }, whole ? "The same in a terminal:" : "This page has the whole story of the worst connections. In a terminal, acc prints that of any:") : null,
    id ? element("pre", {}, "acc analyze --connection " + id + " " + shellWord(file)) : null,
  ].filter(isThere));
  box.hidden = false;
  box.scrollTop = 0;
  box.querySelector("h2").focus({ preventScroll: true });
}

const shellWord = (s) => /^[\w.+-]+$/.test(s) ? s : "'" + s.replace(/'/g, "'\\''") + "'";
