// Connections as lanes, on a canvas of our own.

const lanes = { canvas: null, ctx: null, rows: null, lane: 8, chosen: -1, hover: -1, height: 0, top: 24, drag: null, drawn: 0 };

// pack gives each connection of the shown time the first lane that is free, listener by listener.
function pack(width) {
  const { from, to } = shown, c = connections, perPixel = (to - from) / width;
  const groups = page.listeners.map(() => []);
  for (let i = 0; i < c.n; i++) if (c.end[i] >= from && c.began[i] <= to) groups[c.listener[i]].push(i);
  const order = lanes.order.filter((g) => groups[g].length);
  const rows = [], laneOf = new Int32Array(c.n).fill(-1);
  let next = 0;
  for (const g of order) {
    const busy = []; // a heap of [free from, lane]
    let used = 0;
    for (const i of groups[g]) {
      const until = Math.max(c.end[i], c.began[i] + 3 * perPixel) + perPixel;
      if (busy.length && busy[0][0] <= c.began[i]) {
        laneOf[i] = busy[0][1];
        busy[0][0] = until;
        sink(busy, 0);
      } else {
        laneOf[i] = used++;
        busy.push([until, laneOf[i]]);
        rise(busy, busy.length - 1);
      }
    }
    rows.push({ group: g, first: next, lanes: used, list: groups[g] });
    next += used;
  }
  lanes.rows = rows;
  lanes.laneOf = laneOf;
  lanes.total = next;
}

function rise(heap, i) {
  while (i > 0) {
    const up = (i - 1) >> 1;
    if (heap[up][0] <= heap[i][0]) return;
    [heap[up], heap[i]] = [heap[i], heap[up]];
    i = up;
  }
}

function sink(heap, i) {
  for (;;) {
    let least = i;
    for (const j of [2 * i + 1, 2 * i + 2]) if (j < heap.length && heap[j][0] < heap[least][0]) least = j;
    if (least === i) return;
    [heap[least], heap[i]] = [heap[i], heap[least]];
    i = least;
  }
}

const groupHead = 24;

// layLanes packs, and says how high all of it is.
function layLanes() {
  const width = lanes.canvas.clientWidth;
  if (!width) return;
  pack(width);
  const room = lanes.canvas.clientHeight - lanes.top - lanes.rows.length * groupHead - 6;
  lanes.lane = Math.max(3, Math.min(18, Math.floor(room / Math.max(lanes.total, 1))));
  let y = 0;
  for (const r of lanes.rows) {
    r.y = y;
    y += groupHead + r.lanes * lanes.lane;
  }
  lanes.height = y;
  byId("lanes-space").style.height = Math.max(0, y + lanes.top + 8 - lanes.canvas.clientHeight) + "px";
}

const laneX = (t, width) => (t - shown.from) / (shown.to - shown.from) * width;

function paintLanes() {
  const { canvas, ctx } = lanes, ratio = devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  if (!width || !lanes.rows) return;
  const began = performance.now();
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  ctx.setTransform(ratio, 0, 0, ratio, 0, 0);
  ctx.fillStyle = color("bg");
  ctx.fillRect(0, 0, width, height);
  const scroll = byId("lanes-scroll").scrollTop, c = connections, h = lanes.lane;
  const step = timeSteps.find((s) => (shown.to - shown.from) / s * 100 <= width) || timeSteps[timeSteps.length - 1];
  const ticks = timeTicks(shown.from, shown.to, step);
  ctx.strokeStyle = color("grid");
  ctx.lineWidth = 1;
  ctx.beginPath();
  for (const t of ticks) {
    const x = Math.round(laneX(t, width)) + .5;
    ctx.moveTo(x, lanes.top);
    ctx.lineTo(x, height);
  }
  ctx.stroke();
  drawLosses(ctx, (t) => laneX(t, width), lanes.top, height, 1);
  ctx.save();
  ctx.beginPath();
  ctx.rect(0, lanes.top, width, height - lanes.top);
  ctx.clip();
  const yOf = (r, i) => lanes.top + r.y + groupHead + lanes.laneOf[i] * h - scroll;
  const visible = (r, y) => y + h > lanes.top && y < height;
  const tall = h >= 7, body = Math.max(h - (tall ? 2 : 1), 2);
  const phases = [
    ["handshake", (i) => [c.began[i], isNaN(c.queued[i]) ? (c.refused[i] ? c.end[i] : NaN) : c.queued[i]], .3],
    ["queued", (i) => [c.queued[i], isNaN(c.accepted[i]) ? c.end[i] : c.accepted[i]], 1],
    ["served", (i) => [isNaN(c.accepted[i]) && isNaN(c.queued[i]) && !c.refused[i] ? c.began[i] : c.accepted[i], isNaN(c.serverEnd[i]) ? c.end[i] : c.serverEnd[i]], 1],
    ["closing", (i) => [c.serverEnd[i], c.end[i]], .5],
  ];
  for (const [name, span, part] of phases) {
    ctx.fillStyle = name === "queued" && tall ? hatch() : color(name);
    const high = Math.max(1, Math.round(body * part)), down = (body - high) / 2;
    for (const r of lanes.rows) {
      const lastX = new Float64Array(r.lanes).fill(-1);
      for (const i of r.list) {
        const y = yOf(r, i);
        if (!visible(r, y)) continue;
        const [a, b] = span(i);
        if (!(b >= a) || b < shown.from || a > shown.to) continue;
        let x0 = Math.max(laneX(a, width), -1), x1 = Math.min(laneX(b, width), width + 1);
        if (x1 - x0 < .6) {
          if (name === "handshake" || name === "closing") continue;
          x1 = x0 + .6;
        }
        if (name === "served" && x1 - x0 < 1.5) x1 = x0 + 1.5;
        if (x1 <= lastX[lanes.laneOf[i]]) continue;
        lastX[lanes.laneOf[i]] = x1;
        ctx.fillRect(x0, y + down, x1 - x0, high);
        if (name === "queued" && tall && x1 - x0 > 2) {
          ctx.strokeStyle = color("queued");
          ctx.strokeRect(x0 + .5, y + .5, x1 - x0 - 1, body - 1);
        }
      }
    }
  }
  paintSigns(ctx, width, yOf, visible, body, tall);
  ctx.textBaseline = "middle";
  for (const r of lanes.rows) {
    const y = lanes.top + r.y - scroll;
    if (y > height || y + groupHead < lanes.top) continue;
    ctx.fillStyle = color("bg");
    ctx.fillRect(0, y, width, groupHead - 2);
    ctx.fillStyle = color("ink");
    ctx.font = "600 13px system-ui, sans-serif";
    ctx.fillText(page.listeners[r.group], 8, y + groupHead / 2);
    const w = ctx.measureText(page.listeners[r.group]).width;
    ctx.fillStyle = color("dim");
    ctx.font = "13px system-ui, sans-serif";
    ctx.fillText(count(r.list.length) + (r.list.length === 1 ? " connection" : " connections") + ", at most " + count(r.lanes) + " beside each other", 18 + w, y + groupHead / 2);
  }
  ctx.restore();
  ctx.fillStyle = color("panel");
  ctx.fillRect(0, 0, width, lanes.top);
  ctx.fillStyle = color("dim");
  ctx.font = "12px system-ui, sans-serif";
  ctx.textAlign = "center";
  ctx.textBaseline = "middle";
  for (const t of ticks) {
    const x = laneX(t, width);
    if (x > 34 && x < width - 34) ctx.fillText(clock(t, places(step)), x, lanes.top / 2);
  }
  ctx.textAlign = "left";
  if (lanes.drag) {
    ctx.globalAlpha = .18;
    ctx.fillStyle = color("focus");
    ctx.fillRect(Math.min(lanes.drag.from, lanes.drag.to), lanes.top, Math.abs(lanes.drag.to - lanes.drag.from), height);
    ctx.globalAlpha = 1;
  }
  lanes.drawn = performance.now() - began;
}

// paintSigns says how connections ended, which one is chosen, and who the client is where there is room.
function paintSigns(ctx, width, yOf, visible, body, tall) {
  const c = connections;
  ctx.lineWidth = 1.6;
  ctx.textBaseline = "middle";
  for (const r of lanes.rows) {
    for (const i of r.list) {
      const y = yOf(r, i);
      if (!visible(r, y)) continue;
      const x = laneX(c.end[i], width), from = laneX(c.began[i], width);
      if (x > width + 1) {
        // it ends later
      } else if (isBad(i)) {
        ctx.strokeStyle = ctx.fillStyle = color("c3");
        if (tall) {
          const s = Math.min(body / 2 - .5, 5), at = Math.min(Math.max(x, s + 1), width - s - 1);
          ctx.beginPath();
          ctx.moveTo(at - s, y + body / 2 - s); ctx.lineTo(at + s, y + body / 2 + s);
          ctx.moveTo(at + s, y + body / 2 - s); ctx.lineTo(at - s, y + body / 2 + s);
          ctx.stroke();
        } else ctx.fillRect(Math.min(x, width - 2), y, 2, body);
      } else if (isOpen(i)) {
        const at = Math.min(x, width - 1), s = Math.min(body, 9);
        ctx.fillStyle = color("ink");
        ctx.beginPath();
        ctx.moveTo(at - s * .7, y); ctx.lineTo(at, y + body / 2); ctx.lineTo(at - s * .7, y + body);
        ctx.fill();
      }
      if (lanes.lane >= 14) {
        const left = Math.max(from, 0), right = Math.min(x, width);
        const text = clientOf(i);
        ctx.font = "11px system-ui, sans-serif";
        if (right - left > text.length * 6.2 + 24) {
          const w = ctx.measureText(text).width, at = left + 8;
          ctx.fillStyle = color("bg");
          ctx.globalAlpha = .82;
          ctx.fillRect(at - 3, y + 1, w + 6, body - 2);
          ctx.globalAlpha = 1;
          ctx.fillStyle = color("ink");
          ctx.fillText(text, at, y + body / 2 + .5);
        }
      }
      if (i === lanes.chosen || i === lanes.hover) {
        ctx.strokeStyle = color(i === lanes.chosen ? "focus" : "ink");
        ctx.lineWidth = i === lanes.chosen ? 2 : 1;
        ctx.strokeRect(Math.max(from, 0) - 1, y - 1, Math.max(Math.min(x, width) - Math.max(from, 0), 3) + 2, body + 2);
        ctx.lineWidth = 1.6;
      }
    }
  }
}

let hatchPattern = null, hatchColor = "";
function hatch() {
  const now = color("queued");
  if (hatchPattern && hatchColor === now) return hatchPattern;
  const tile = document.createElement("canvas");
  tile.width = tile.height = 6;
  const t = tile.getContext("2d");
  t.fillStyle = now + "40";
  t.fillRect(0, 0, 6, 6);
  t.strokeStyle = now;
  t.lineWidth = 1.5;
  t.beginPath();
  for (const d of [-6, 0, 6]) { t.moveTo(d, 6); t.lineTo(d + 6, 0); }
  t.stroke();
  hatchColor = now;
  return hatchPattern = lanes.ctx.createPattern(tile, "repeat");
}

// at finds the connection at a place of the canvas, -1 if there is none.
function laneAt(x, y) {
  const scroll = byId("lanes-scroll").scrollTop, width = lanes.canvas.clientWidth, c = connections;
  let best = -1, nearest = 5;
  for (const r of lanes.rows) {
    const inGroup = y - lanes.top + scroll - r.y - groupHead;
    if (inGroup < 0 || inGroup >= r.lanes * lanes.lane) continue;
    const lane = Math.floor(inGroup / lanes.lane);
    for (const i of r.list) {
      if (lanes.laneOf[i] !== lane) continue;
      const a = laneX(c.began[i], width), b = laneX(c.end[i], width);
      const off = x < a ? a - x : x > b ? x - b : 0;
      if (off < nearest) { nearest = off; best = i; }
    }
  }
  return best;
}

function noteLane(i) {
  byId("lanes-note").textContent = i < 0 ? "" : clientOf(i) + " at " + page.listeners[connections.listener[i]] + ": queued " +
    duration(connections.wait[i]) + ", served " + duration(connections.served[i]) + ", " + endOf(i);
}

let lanesAsked = false;
function askLanes(lay) {
  lanes.stale = lanes.stale || lay;
  if (lanesAsked) return;
  lanesAsked = true;
  requestAnimationFrame(() => {
    lanesAsked = false;
    if (lanes.stale) layLanes();
    lanes.stale = false;
    paintLanes();
  });
}

// inView moves the shown time and the lanes so that a connection can be seen.
function inView(i) {
  const c = connections, wide = shown.to - shown.from;
  if (c.began[i] < shown.from || c.began[i] > shown.to) show(c.began[i] - wide / 3, c.began[i] + wide * 2 / 3);
  layLanes();
  const box = byId("lanes-scroll"), r = lanes.rows.find((r) => r.group === c.listener[i]);
  if (!r || lanes.laneOf[i] < 0) return;
  const y = r.y + groupHead + lanes.laneOf[i] * lanes.lane;
  if (y < box.scrollTop || y + lanes.lane > box.scrollTop + box.clientHeight - lanes.top) box.scrollTop = y - box.clientHeight / 2;
}

// neighbour is the connection before or after the chosen one, of those that are shown.
function neighbour(step) {
  const c = connections;
  let i = lanes.chosen < 0 ? (step > 0 ? -1 : c.n) : lanes.chosen;
  for (i += step; i >= 0 && i < c.n; i += step) if (c.end[i] >= shown.from && c.began[i] <= shown.to) return i;
  return lanes.chosen;
}

function startLanes() {
  const canvas = lanes.canvas = byId("lanes-canvas");
  lanes.ctx = canvas.getContext("2d");
  const total = page.listeners.map(() => 0);
  for (const g of connections.listener) total[g]++;
  lanes.order = total.map((_, g) => g).sort((a, b) => total[b] - total[a] || a - b);
  const at = (e) => { const b = canvas.getBoundingClientRect(); return [e.clientX - b.left, e.clientY - b.top]; };
  canvas.addEventListener("pointerdown", (e) => {
    if (e.button !== 0) return;
    const [x] = at(e);
    lanes.drag = { from: x, to: x };
    canvas.setPointerCapture(e.pointerId);
  });
  canvas.addEventListener("pointermove", (e) => {
    const [x, y] = at(e);
    if (lanes.drag) lanes.drag.to = x;
    else {
      const i = laneAt(x, y);
      if (i === lanes.hover) return;
      lanes.hover = i;
      canvas.style.cursor = i < 0 ? "crosshair" : "pointer";
      noteLane(i < 0 ? lanes.chosen : i);
    }
    askLanes();
  });
  canvas.addEventListener("pointerup", (e) => {
    const drag = lanes.drag, [x, y] = at(e);
    lanes.drag = null;
    if (!drag) return;
    if (Math.abs(drag.to - drag.from) > 5) {
      const time = (p) => shown.from + p / canvas.clientWidth * (shown.to - shown.from);
      show(time(Math.min(drag.from, drag.to)), time(Math.max(drag.from, drag.to)));
    } else {
      const i = laneAt(x, y);
      if (i >= 0) choose(i);
    }
    askLanes();
  });
  canvas.addEventListener("pointerleave", () => { lanes.hover = -1; noteLane(lanes.chosen); askLanes(); });
  canvas.addEventListener("dblclick", () => show(0, wholeTime().to));
  canvas.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.metaKey) return;
    e.preventDefault();
    const [x] = at(e);
    zoom(Math.exp(Math.max(-1, Math.min(1, e.deltaY / 200))), shown.from + x / canvas.clientWidth * (shown.to - shown.from));
  }, { passive: false });
  canvas.addEventListener("keydown", (e) => {
    const keys = {
      "+": () => zoom(.5), "=": () => zoom(.5), "-": () => zoom(2), ArrowLeft: () => pan(-.25), ArrowRight: () => pan(.25),
      Home: () => show(0, wholeTime().to), "0": () => show(0, wholeTime().to),
      ArrowDown: () => pick(neighbour(1)), ArrowUp: () => pick(neighbour(-1)), Enter: () => lanes.chosen >= 0 && choose(lanes.chosen),
    };
    if (!keys[e.key] || e.ctrlKey || e.metaKey || e.altKey) return;
    e.preventDefault();
    keys[e.key]();
  });
  byId("lanes-scroll").addEventListener("scroll", () => askLanes());
  shown.followers.push(() => askLanes(true));
  layLanes();
  paintLanes();
}

// pick marks a connection without opening its story.
function pick(i) {
  if (i < 0) return;
  lanes.chosen = i;
  noteLane(i);
  inView(i);
  askLanes(true);
}
