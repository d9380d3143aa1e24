// The charts over time, by uPlot: rates, errors, waits, queues.

const charts = [];
const timeSteps = [1e-6, 2e-6, 5e-6, 1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 15, 30, 60, 120, 300,
  600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];

function timeAxis() {
  return {
    stroke: () => color("dim"), grid: { stroke: () => color("grid"), width: 1 }, ticks: { stroke: () => color("grid"), width: 1 },
    font: "12px system-ui, sans-serif", incrs: timeSteps, space: 90, size: 34,
    splits: (u, axis, min, max, step) => timeTicks(min, max, step),
    values: (u, splits) => splits.map((t, i) => clock(t, places(splits.length > 1 ? splits[1] - splits[0] : 1))),
  };
}

// timeTicks are at round times of the day.
function timeTicks(min, max, step) {
  const zero = page.start === null ? 0 : (page.start + page.zone) % 86400;
  const list = [];
  for (let k = Math.ceil((min + zero) / step - 1e-9); k * step - zero <= max + step * 1e-9 && list.length < 60; k++) list.push(k * step - zero);
  return list;
}

function valueAxis(format, extra) {
  return Object.assign({
    stroke: () => color("dim"), grid: { stroke: () => color("grid"), width: 1 }, ticks: { show: false },
    font: "12px system-ui, sans-serif", size: 74, values: (u, splits) => splits.map((v) => v === null ? "" : format(v)),
  }, extra);
}

// shade draws what was lost, and the marks, behind the lines.
function shade(u) {
  const { ctx, bbox } = u, ratio = devicePixelRatio;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  drawLosses(ctx, (t) => u.valToPos(t, "x", true), bbox.top, bbox.height, ratio);
  ctx.restore();
}

// drawLosses hatches the times in which events were lost, and draws the marks.
function drawLosses(ctx, xOf, top, height, ratio) {
  for (const [from, to] of page.losses) {
    const a = xOf(from), b = Math.max(xOf(to), a + 3 * ratio);
    ctx.fillStyle = color("loss");
    ctx.fillRect(a, top, b - a, height);
    ctx.save();
    ctx.beginPath();
    ctx.rect(a, top, b - a, height);
    ctx.clip();
    ctx.strokeStyle = color("c3");
    ctx.lineWidth = ratio * .7;
    ctx.beginPath();
    for (let x = Math.max(a, -height) - height; x < Math.min(b, 1e5); x += 8 * ratio) {
      ctx.moveTo(x, top + height);
      ctx.lineTo(x + height, top);
    }
    ctx.stroke();
    ctx.restore();
  }
  ctx.font = 11 * ratio + "px system-ui, sans-serif";
  ctx.textBaseline = "top";
  for (const [t, text] of page.marks) {
    const x = xOf(t);
    ctx.strokeStyle = ctx.fillStyle = color("ink");
    ctx.lineWidth = ratio;
    ctx.setLineDash([4 * ratio, 3 * ratio]);
    ctx.beginPath();
    ctx.moveTo(x, top);
    ctx.lineTo(x, top + height);
    ctx.stroke();
    ctx.setLineDash([]);
    ctx.fillText(text.slice(0, 60), x + 4 * ratio, top + 3 * ratio);
  }
}

function chart(at, height, series, data, axis, scale) {
  const box = byId(at);
  const u = new uPlot({
    width: box.clientWidth || 1200, height, cursor: { sync: { key: "time" }, drag: { x: true, y: false, setScale: false }, y: false },
    select: { show: true },
    legend: { live: true, markers: { width: 2, dash: (u, i) => ({ 0: "solid", 7: "dashed" }[(series[i - 1].dash || [])[0] || 0] || "dotted"), fill: () => "transparent" } },
    scales: { x: { time: false, range: () => [shown.from, shown.to] }, y: scale },
    axes: [timeAxis(), axis],
    series: [{ label: "time", value: (u, t) => t === null ? "-" : clock(t, places((shown.to - shown.from) / 500)) }, ...series],
    hooks: {
      drawAxes: [shade],
      setSelect: [(u) => {
        if (u.select.width < 4) return;
        const from = u.posToVal(u.select.left, "x"), to = u.posToVal(u.select.left + u.select.width, "x");
        u.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        show(from, to);
      }],
      ready: [(u) => u.over.addEventListener("dblclick", () => show(0, wholeTime().to))],
    },
  }, data, box);
  charts.push(u);
  return u;
}

// timesOf are when so many buckets begin, and when the last one ends.
const timesOf = (n, width) => Array.from({ length: n + 1 }, (_, i) => i * width);

// filled has a number for each bucket of the recording: what is not there is 0.
function filled(list, width) {
  const n = Math.max(list.length, Math.min(Math.ceil(page.span / width - 1e-6), 4000));
  return list.concat(new Array(n - list.length).fill(0));
}

// plainNumber writes a number of an axis.
const plainNumber = (v) => v >= 1000 ? count(v) : String(Number(v.toPrecision(3)));

// perSecond turns counts of buckets into rates; the last bucket ends with the recording.
function perSecond(counts, width) {
  const list = counts.map((n, i) => {
    const time = Math.min(width, Math.max(page.span - i * width, width / 10));
    return n / time;
  });
  list.push(list.length ? list[list.length - 1] : 0);
  return list;
}

const dashes = { accepted: [], arrived: [7, 4], refused: [2, 3] };
const stepped = () => uPlot.paths.stepped({ align: 1 });
const rateValue = (u, v) => v === null || v === undefined ? "-" : digits(v) + "/s";

function rateCharts() {
  const shownRates = page.rates.filter((r) => r.kind !== "failed"), failed = page.rates.filter((r) => r.kind === "failed");
  const colors = { accepted: "c1", arrived: "c2", refused: "c3" };
  const fill = (counts) => filled(counts, page.width);
  const times = timesOf(fill(page.rates.length ? page.rates[0].n : []).length, page.width);
  chart("chart-rates", 230, shownRates.map((r) => ({
    label: r.name, stroke: () => color(colors[r.kind]), dash: dashes[r.kind], width: r.kind === "refused" ? 2 : 1.5,
    fill: r.kind === "accepted" ? () => color("c1") + "1f" : undefined, paths: stepped(), points: { show: false }, value: rateValue,
  })), [times, ...shownRates.map((r) => perSecond(fill(r.n), page.width))], valueAxis(plainNumber), zeroBased);
  if (!failed.length) {
    byId("box-failed").hidden = true;
    return;
  }
  const failedColors = ["c3", "c4", "c2", "c5", "c6"], failedDashes = [[], [7, 4], [2, 3], [9, 3, 2, 3], [4, 4]];
  chart("chart-failed", 170, failed.map((r, i) => ({
    label: r.name, stroke: () => color(failedColors[i % 5]), dash: failedDashes[i % 5], width: 1.5, paths: stepped(), points: { show: false }, value: rateValue,
  })), [times, ...failed.map((r) => perSecond(fill(r.n), page.width))], valueAxis(plainNumber), zeroBased);
}

const zeroBased = { range: (u, min, max) => [0, Math.max(max * 1.08, 1e-9)] };

function waitChart() {
  const w = page.waits;
  if (!w) {
    byId("box-waits").hidden = true;
    return;
  }
  const seconds = (list) => [...list.map((v) => v === null ? null : v / 1e6), null];
  const line = (label, name, dash, width) => ({
    label, stroke: () => color(name), dash, width, paths: stepped(), points: { show: (u, i) => false }, spanGaps: false,
    value: (u, v) => v === null || v === undefined ? "-" : duration(v),
  });
  chart("chart-waits", 230, [line("longest", "c3", [2, 3], 1.5), line("p99", "c4", [7, 4], 1.5), line("median", "c1", [], 2)],
    [timesOf(w.p50.length, w.width), seconds(w.max), seconds(w.p99), seconds(w.p50)],
    valueAxis(duration, { filter: (u, splits) => splits.map((v) => Math.abs(Math.log10(v) - Math.round(Math.log10(v))) < 1e-6 ? v : null) }), { distr: 3 });
}

function queueCharts() {
  const box = byId("queue-charts");
  if (!page.queues.length) {
    box.append(element("p", { class: "none" }, "No connection was seen waiting in an accept queue."));
    return;
  }
  page.queues.forEach((q, i) => {
    const id = "queue-" + i, most = Math.max(...q.depth);
    box.append(element("div", { class: "chart" }, element("h3", {}, q.name, element("span", { class: "dim" }, "  at most " + count(most) +
      (q.limits.length ? " of " + q.limits.map((l) => count(l[1])).join(", then ") : "") + (q.full ? ", full for " + q.full : ""))),
      element("div", { id })));
    const depth = filled(q.depth, q.width), times = timesOf(depth.length, q.width);
    const limit = times.map((t) => {
      let v = null;
      for (const [since, max] of q.limits) if (t + q.width > since) v = max;
      return v;
    });
    const near = q.limits.some(([, max]) => max <= most * 8); // else the limit is said, and its line would flatten the rest
    chart(id, 150, [
      { label: "in the queue", stroke: () => color("queued"), fill: () => color("queued") + "40", width: 1.5, paths: stepped(), points: { show: false }, value: (u, v) => v === null ? "-" : count(v) },
      { label: "limit", show: near, stroke: () => color("c3"), dash: [7, 4], width: 1.5, paths: stepped(), points: { show: false }, value: (u, v) => v === null ? "-" : count(v) },
    ], [times, [...depth, depth[depth.length - 1]], limit], valueAxis((v) => Number.isInteger(v) ? count(v) : "", {}), zeroBased);
  });
  if (page.hidden) byId("queues-note").textContent = "The " + page.queues.length + " fullest of " + (page.queues.length + page.hidden) + " are here.";
}

function drawCharts() {
  rateCharts();
  waitChart();
  queueCharts();
  shown.followers.push(() => { for (const u of charts) u.setScale("x", { min: shown.from, max: shown.to }); });
  let lost = 0;
  for (const l of page.losses) lost += l[2];
  if (lost) byId("loss-note").textContent = " Hatched: " + count(lost) + " events were lost there." +
    (page.more_lost ? " " + count(page.more_lost) + " more were lost at times that are not drawn." : "");
  if (page.marks.length) byId("loss-note").append(" Dashed lines are marks.");
}

function resizeCharts() {
  for (const u of charts) {
    const width = u.root.parentElement.clientWidth;
    if (width && width !== u.width) u.setSize({ width, height: u.height });
  }
}

function repaintCharts() { for (const u of charts) u.redraw(false, true); }
