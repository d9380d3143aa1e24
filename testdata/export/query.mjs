// Asks an engine the questions of a file of SQL, and prints an object of their rows: node query.mjs ENGINE NODE_MODULES LAKE QUESTIONS.json
// The questions are {setup: [sql], questions: {name: sql}}. hyparquet has no SQL: it answers questions 1, 4 and 8 by itself.
import fs from 'fs';
import path from 'path';
import { createRequire } from 'module';
import { pathToFileURL } from 'url';

const [engine, modules, lake, file] = process.argv.slice(2);
const require = createRequire(path.join(modules, 'x.js'));
const load = async name => { try { return require(name); } catch { return import(pathToFileURL(path.join(modules, name, JSON.parse(fs.readFileSync(path.join(modules, name, 'package.json'))).main || 'src/index.js'))); } };
const { setup, questions } = JSON.parse(fs.readFileSync(file));
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
    for (const f of fs.globSync ? fs.globSync(`${lake}/${table}/*/*/*.parquet`) : walk(`${lake}/${table}`)) {
      const b = fs.readFileSync(f);
      rows.push(...await parquetReadObjects({ file: b.buffer.slice(b.byteOffset, b.byteOffset + b.length), columns, compressors }));
    }
    return rows;
  };
  const count = (rows, key, row) => {
    const m = new Map();
    for (const r of rows) { const k = key(r); if (k !== null) row(m.get(k) ?? m.set(k, {}).get(k), r); }
    return [...m.keys()].sort().map(k => m.get(k));
  };
  const c = await all('connections', ['capture_id', 'comm', 'end', 'lport', 'refused_packets']);
  const k = new Map((await all('captures', ['capture_id', 'tool', 'kernel'])).map(x => [x.capture_id, x]));
  out['1'] = clean(count(c, r => r.comm ?? null, (o, r) => { o.comm = r.comm; o.connections = (o.connections ?? 0) + 1; o.resets = (o.resets ?? 0) + (r.end === 'reset-by-client' ? 1 : 0); }));
  out['4'] = clean(count(c.filter(r => r.refused_packets > 0), r => [String(r.lport).padStart(5, '0'), k.get(r.capture_id).tool, k.get(r.capture_id).kernel].join(' '),
    (o, r) => { const x = k.get(r.capture_id); o.port = r.lport; o.tool = x.tool; o.kernel = x.kernel; o.refused = (o.refused ?? 0n) + r.refused_packets; }));
  out['8'] = clean(count(c, r => r.end, (o, r) => { o.how = r.end; o.connections = (o.connections ?? 0) + 1; }));
}
process.stdout.write(JSON.stringify(out) + '\n', () => process.exit(0)); // when all is written

function* walk(d) { for (const e of fs.readdirSync(d, { withFileTypes: true })) { const p = path.join(d, e.name); if (e.isDirectory()) yield* walk(p); else if (p.endsWith('.parquet')) yield p; } }
