// Holds ECS documents (JSON lines on standard input) against the table of fields of npm's @elastic/ecs, which Elastic publishes:
//
//	acc export --format ecs incident.acc | node ecs.mjs NODE_MODULES
//
// Every field but acc's own must be one of ECS, of its type, and have one of its allowed values; event.type must be one that
// event.category expects. Prints what it read, then what is wrong.
import { createRequire } from 'module';
import path from 'path';
import readline from 'readline';

const { EcsFlat, EcsVersion } = createRequire(path.join(process.argv[2], 'x.js'))('@elastic/ecs');
const numbers = new Set(['long', 'float', 'scaled_float']), texts = new Set(['keyword', 'ip', 'wildcard', 'date', 'match_only_text']);
const bad = new Set(), used = new Set(), counts = {};
let documents = 0, version = '';

function* leaves(d, prefix = '') {
  for (const [k, v] of Object.entries(d)) {
    if (v !== null && typeof v === 'object' && !Array.isArray(v)) yield* leaves(v, prefix + k + '.');
    else yield [prefix + k, v];
  }
}

for await (const line of readline.createInterface({ input: process.stdin })) {
  const document = JSON.parse(line);
  documents++;
  version = document.ecs.version;
  counts[document.acc.end] = (counts[document.acc.end] ?? 0) + 1;
  for (const [name, value] of leaves(document)) {
    if (name.startsWith('acc.')) continue;
    used.add(name);
    const field = EcsFlat[name];
    if (!field) { bad.add(`${name} is no field of ECS`); continue; }
    if (Array.isArray(value) !== (field.normalize ?? []).includes('array')) bad.add(`${name} is ${Array.isArray(value) ? 'an' : 'no'} array`);
    for (const x of [value].flat()) {
      if (numbers.has(field.type) && typeof x !== 'number' || texts.has(field.type) && typeof x !== 'string') bad.add(`${name} is no ${field.type}: ${x}`);
      if (field.allowed_values && !field.allowed_values.some(a => a.name === x)) bad.add(`${name} has no value ${x}`);
    }
  }
  const expected = EcsFlat['event.category'].allowed_values.filter(a => document.event.category.includes(a.name)).flatMap(a => a.expected_event_types);
  for (const x of document.event.type) if (!expected.includes(x)) bad.add(`event.type ${x} is not expected of ${document.event.category}`);
}
if (!version.startsWith(EcsVersion.split('.').slice(0, 2).join('.'))) bad.add(`ecs.version is ${version}, the table is of ${EcsVersion}`);
console.log(JSON.stringify({ documents, fields: used.size, version: EcsVersion, counts }));
for (const b of [...bad].sort()) console.log(b);
process.exit(bad.size > 0 ? 1 : 0);
