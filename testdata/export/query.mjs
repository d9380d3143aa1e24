// Asks an engine the questions of a file of SQL, and prints an object of their rows: node query.mjs ENGINE NODE_MODULES LAKE QUESTIONS.json
// The questions are {setup: [sql], questions: {name: sql}}, or a page that has them as docs/FLEET.md does. With TIMES set it says how long each took. hyparquet has no SQL: what it reads is asked here.
import fs from 'fs';
import path from 'path';
import { createRequire } from 'module';
import { pathToFileURL } from 'url';

const [engine, modules, lake, file] = process.argv.slice(2);
const require = createRequire(path.join(modules, 'x.js'));
const load = async name => { try { return require(name); } catch { return import(pathToFileURL(path.join(modules, name, JSON.parse(fs.readFileSync(path.join(modules, name, 'package.json'))).main || 'src/index.js'))); } };
const { setup, questions } = file.endsWith('.md') ? ofPage(fs.readFileSync(file, 'utf8')) : JSON.parse(fs.readFileSync(file));
const at = sql => sql.replaceAll("'lake/", `'${lake}/`);
const plain = v => v === null || v === undefined ? null : String(v);
const clean = rows => rows.map(r => Object.fromEntries(Object.entries(r).map(([k, v]) => [k, plain(v)])));
const out = {};

if (engine === 'duckdb') {
  const { DuckDBInstance } = await load('@duckdb/node-api');
  const c = await (await DuckDBInstance.create(':memory:')).connect();
  for (const s of setup) await c.run(at(s));
  for (const [name, sql] of Object.entries(questions)) {
    const t = Date.now();
    out[name] = clean((await c.runAndReadAll(at(sql))).getRowObjectsJson());
    if (process.env.TIMES) console.error(name, Date.now() - t, 'ms');
  }
} else if (engine === 'clickhouse') {
  const { Session } = await load('chdb');
  const s = new Session();
  for (const q of setup) s.query(at(q));
  for (const [name, sql] of Object.entries(questions)) {
    const t = Date.now();
    out[name] = clean(s.query(at(sql.replace(/;\s*$/, '')), 'JSONEachRow').split('\n').filter(Boolean).map(l => JSON.parse(l)));
    if (process.env.TIMES) console.error(name, Date.now() - t, 'ms');
  }
  s.cleanup();
} else {
  const { parquetReadObjects } = await load('hyparquet');
  const { compressors } = await load('hyparquet-compressors');
  const all = async (table, columns) => {
    const rows = [];
    for (const f of walk(`${lake}/${table}`)) {
      const b = fs.readFileSync(f), host = decodeURIComponent(/\/host=([^/]*)\//.exec(f)[1]);
      const read = await parquetReadObjects({ file: b.buffer.slice(b.byteOffset, b.byteOffset + b.length), columns, compressors });
      for (const r of read) rows.push({ ...r, host });
    }
    return rows;
  };
  // groups has an object for each key of the rows, in the order of keys, to which add adds each row.
  const groups = (rows, key, add) => {
    const m = new Map();
    for (const r of rows) { const k = key(r); add(m.get(k) ?? m.set(k, {}).get(k), r); }
    return [...m.keys()].sort().map(k => m.get(k));
  };
  const count = (rows, column, as, n, extra = () => {}) => groups(rows, r => r[column], (o, r) => { o[as] = r[column]; o[n] = (o[n] ?? 0) + 1; extra(o, r); });
  const pick = (rows, ...names) => rows.map(r => Object.fromEntries(names.map(n => [n, r[n]])))
    .sort((a, b) => names.map(n => a[n] < b[n] ? -1 : a[n] > b[n] ? 1 : 0).find(x => x) ?? 0);
  const at = text => BigInt(Date.parse(text + 'Z')) * 1000000n;
  const c = await all('connections', ['capture_id', 'seq', 'ts_ns', 'comm', 'end', 'lport', 'refused_packets', 'queue_wait_ns', 'accepted', 'pod']);
  const a = (await all('attempts', ['errno', 'ts_ns'])).filter(r => r.errno !== null && r.errno !== undefined);
  const k = await all('captures', ['capture_id', 'tool', 'kernel', 'lost', 'verdict', 'recording', 'clock_keeping', 'clock_error_ns', 'clock_steps']);
  const capture = new Map(k.map(x => [x.capture_id, x]));
  const within = (r, from, to) => r.ts_ns >= at(from) && r.ts_ns < at(to);
  out['1'] = count(c.filter(r => (r.comm ?? null) !== null), 'comm', 'comm', 'connections', (o, r) => { o.resets = (o.resets ?? 0) + (r.end === 'reset-by-client' ? 1 : 0); });
  out['2'] = groups(c.filter(r => r.accepted && within(r, '2026-11-28T14:00:00', '2026-11-28T15:00:00')), r => r.host + ' ' + r.pod, (o, r) => {
    o.host = r.host; o.pod = r.pod; if (!(o.longest_ns >= r.queue_wait_ns)) o.longest_ns = r.queue_wait_ns;
  }).sort((x, y) => x.longest_ns > y.longest_ns ? -1 : x.longest_ns < y.longest_ns ? 1 : x.host < y.host ? -1 : 1).slice(0, 10);
  out['3'] = groups(k, r => r.host, (o, r) => { o.host = r.host; o.lost_events = (o.lost_events ?? 0n) + BigInt(r.lost ?? 0); }).filter(o => o.lost_events > 0n);
  out['4'] = groups(c.filter(r => r.refused_packets > 0), r => [String(r.lport).padStart(5, '0'), capture.get(r.capture_id).tool, capture.get(r.capture_id).kernel].join(' '),
    (o, r) => { const x = capture.get(r.capture_id); o.port = r.lport; o.tool = x.tool; o.kernel = x.kernel; o.refused = (o.refused ?? 0n) + r.refused_packets; });
  out['5'] = pick(groups(c.filter(r => within(r, '2026-11-27T00:00:00', '2026-11-29T00:00:00')), r => r.host + ' ' + r.lport, (o, r) => {
    o.host = r.host; o.lport = r.lport; if (!(o.first <= r.ts_ns)) o.first = r.ts_ns;
  }).filter(o => o.first >= at('2026-11-28T00:00:00')), 'host', 'lport');
  out['6'] = count(a.filter(r => r.errno === 'EMFILE' && r.ts_ns < at('2026-11-28T14:30:15')), 'host', 'host', 'failures');
  out['7'] = pick(k.filter(r => r.clock_keeping === 'free' || r.clock_error_ns > 1000000000n || r.clock_steps > 0), 'host', 'capture_id');
  out['8'] = count(c, 'end', 'how', 'connections');
  out['9'] = pick(k.filter(r => r.verdict !== 'intact' || r.recording !== 'complete'), 'host', 'capture_id', 'verdict', 'recording');
  out['10'] = count(a, 'errno', 'errno', 'failures');
  out.deduplicated = [{ n: new Set(c.map(r => r.capture_id + ' ' + r.seq)).size }];
  for (const name of Object.keys(out)) out[name] = clean(out[name]);
}
process.stdout.write(JSON.stringify(out) + '\n', () => process.exit(0)); // when all is written

function* walk(d) { for (const e of fs.readdirSync(d, { withFileTypes: true })) { const p = path.join(d, e.name); if (e.isDirectory()) yield* walk(p); else if (p.endsWith('.parquet')) yield p; } }

// ofPage gives the SQL of a page: blocks that begin with a comment, which is a question's number, an engine, or Both.
function ofPage(text) {
  const all = { setup: [], questions: {} };
  for (const [, name, sql] of text.matchAll(/```sql\n-- (\S+)\n([^]*?)```/g))
    if (/^\d+$/.test(name)) all.questions[name] = sql.trim();
    else if (['both', engine].includes(name.toLowerCase())) all.setup.push(...sql.trim().split(/;\n/));
  all.questions.deduplicated = 'SELECT count(*) AS n FROM connections_deduplicated';
  return all;
}
