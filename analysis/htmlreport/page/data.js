// What the page is made of: the data of its templates, the shown time, and how numbers look.

const byId = (id) => document.getElementById(id);

// element makes an element; texts become text nodes, so that nothing of the capture can be more than text.
function element(tag, attributes, ...children) {
  const e = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name === "class") e.className = value;
    else if (name.startsWith("on")) e.addEventListener(name.slice(2), value);
    else if (value !== undefined && value !== null) e.setAttribute(name, value);
  }
  e.append(...children.filter(isThere));
  return e;
}

const isThere = (c) => c !== null && c !== undefined;

function bytesOf(id) {
  const text = atob(byId(id).content.textContent.trim());
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i);
  return bytes;
}

async function unpack(id) {
  const stream = new Blob([bytesOf(id)]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

// The columns of connections, in the order of rows.go.
const columnNames = ["began", "id", "handshake", "queue", "serve", "rest", "wait", "client", "port", "listener", "process", "end", "in", "out",
  "refused", "again", "flags", "fin"];
const flag = { dead: 1, before: 2, trouble: 4, atLeast: 8, unknown: 16, queued: 32 };

function readColumns(bytes, n) {
  const columns = {};
  let at = 0;
  for (const name of columnNames) {
    const list = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      let value = 0, factor = 1, b;
      do {
        b = bytes[at++];
        value += (b & 127) * factor;
        factor *= 128;
      } while (b > 127);
      list[i] = value;
    }
    columns[name] = list;
  }
  let began = 0, id = 0;
  for (let i = 0; i < n; i++) {
    began += columns.began[i];
    columns.began[i] = began;
    const z = columns.id[i];
    id += z % 2 ? -(z + 1) / 2 : z / 2;
    columns.id[i] = id;
  }
  return columns;
}

// Connections, as arrays of numbers: times in seconds since the recording began, NaN where they are not known.
function connectionsOf(c, page) {
  const n = page.rows, make = () => new Float64Array(n).fill(NaN);
  const x = { n, began: make(), queued: make(), accepted: make(), serverEnd: make(), end: make(), wait: make(), served: make(), clientFIN: make() };
  for (const name of ["id", "client", "port", "listener", "process", "refused", "flags"]) x[name] = c[name];
  x.ending = c.end;
  x.in = c.in.map((v) => v - 1);
  x.out = c.out.map((v) => v - 1);
  x.again = c.again.map((v) => v - 1);
  for (let i = 0; i < n; i++) {
    let t = c.began[i] / 1e6;
    x.began[i] = t;
    if (c.fin[i]) x.clientFIN[i] = t + (c.fin[i] - 1) / 1e6;
    const next = (v) => { t += (v - 1) / 1e6; return t; };
    if (c.flags[i] & flag.queued) x.queued[i] = c.handshake[i] ? next(c.handshake[i]) : t;
    if (c.queue[i]) x.accepted[i] = next(c.queue[i]);
    if (c.serve[i]) x.serverEnd[i] = next(c.serve[i]);
    x.end[i] = c.rest[i] ? next(c.rest[i]) : t;
    if (c.wait[i]) x.wait[i] = (c.wait[i] - 1) / 1e6;
    if (!isNaN(x.accepted[i])) x.served[i] = (isNaN(x.serverEnd[i]) ? x.end[i] : x.serverEnd[i]) - x.accepted[i];
  }
  return x;
}

const isBad = (i) => page.ends[connections.ending[i]][1] === 1 || (connections.flags[i] & flag.trouble) !== 0;
const isOpen = (i) => page.ends[connections.ending[i]][1] === 2;
// endOf says how a connection ended, and what went wrong before.
const endOf = (i) => page.ends[connections.ending[i]][0] + (connections.refused[i] && connections.flags[i] & flag.queued ? "; refused at first" : "") +
  (connections.flags[i] & flag.dead ? "; dead on arrival" : "");
const clientOf = (i) => {
  const a = page.clients[connections.client[i]];
  return (a.includes(":") ? "[" + a + "]" : a) + ":" + connections.port[i];
};
const processOf = (i) => connections.process[i] ? page.processes[connections.process[i] - 1] : "-";

// How numbers look.

function count(n) { return Math.round(n).toString().replace(/\B(?=(\d{3})+$)/g, ","); }

function digits(v) {
  if (v >= 100) return count(v);
  return v >= 10 ? v.toFixed(1) : v.toFixed(2);
}

function duration(s) {
  if (isNaN(s)) return "-";
  if (s === 0) return "0";
  if (s < 1e-3) return digits(s * 1e6) + " µs";
  if (s < 1) return digits(s * 1e3) + " ms";
  if (s < 120) return digits(s) + " s";
  if (s < 7200) return Math.floor(s / 60) + "m" + Math.round(s % 60) + "s";
  return Math.floor(s / 3600) + "h" + Math.round(s % 3600 / 60) + "m";
}

function size(n) {
  if (n < 0) return "-";
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (n < 1024) return (unit === "B" ? count(n) : digits(n)) + " " + unit;
    n /= 1024;
  }
  return digits(n) + " TiB";
}

// clock writes a time, given in seconds since the recording began, with so many digits behind the second.
function clock(t, places) {
  if (page.start === null) return "+" + t.toFixed(places) + " s";
  const at = (page.start + page.zone) * 1000 + t * 1000;
  const unit = Math.pow(10, 3 - Math.min(places, 3));
  const text = new Date(Math.floor(at / unit + 1e-6) * unit).toISOString().slice(11, 23);
  if (places <= 3) return places === 0 ? text.slice(0, 8) : text.slice(0, 9 + places);
  return text + Math.floor((at % 1) * 1000 + 1e-3).toString().padStart(3, "0");
}

// places is how many digits tell times apart that are so many seconds from each other.
function places(step) { return step >= 1 ? 0 : Math.min(6, Math.ceil(-Math.log10(step) - 1e-9)); }

// shown is the time that all parts of the page show. Parts that are drawn follow it.
const shown = { from: 0, to: 1, followers: [] };

function show(from, to, keepHash) {
  const whole = wholeTime();
  const least = Math.max((whole.to - whole.from) / 1e6, 1e-5);
  if (!(to - from >= least)) {
    const middle = (from + to) / 2;
    from = middle - least / 2;
    to = middle + least / 2;
  }
  const width = Math.min(to - from, whole.to - whole.from);
  from = Math.min(Math.max(from, whole.from), whole.to - width);
  shown.from = from;
  shown.to = from + width;
  for (const follow of shown.followers) follow();
  if (!keepHash) saveHash();
}

const wholeTime = () => ({ from: 0, to: Math.max(page.span, 1e-3) });
const isWhole = () => shown.from <= 0 && shown.to >= wholeTime().to - 1e-9;

function zoom(factor, at) {
  const middle = at === undefined ? (shown.from + shown.to) / 2 : at;
  show(middle - (middle - shown.from) * factor, middle + (shown.to - middle) * factor);
}

function pan(part) {
  const step = (shown.to - shown.from) * part;
  show(shown.from + step, shown.to + step);
}

let page = null, connections = null;

// color is one of the style's, kept until the theme changes.
const colors = new Map();
function color(name) {
  if (!colors.has(name)) colors.set(name, getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim());
  return colors.get(name);
}
