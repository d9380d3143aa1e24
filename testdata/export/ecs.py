"""Holds ECS documents (JSON lines on standard input) against generated/ecs/ecs_flat.yml of a checkout of github.com/elastic/ecs:

    acc export --format ecs incident.acc | python3 ecs.py ecs_flat.yml

Every field but acc's own must be one of ECS, of its type, and have one of its allowed values."""
import json, re, sys

fields, name = {}, None
for line in open(sys.argv[1]):
    if m := re.match(r"^'?([a-zA-Z@_][\w.@]*)'?:$", line):
        name = m.group(1)
        fields[name] = {"type": "", "allowed": []}
    elif m := re.match(r"^  type: (\S+)", line):
        fields[name]["type"] = m.group(1)
    elif m := re.match(r"^    name: (\S+)", line):
        fields[name]["allowed"].append(m.group(1))


def leaves(d, prefix=""):
    for k, v in d.items():
        if isinstance(v, dict):
            yield from leaves(v, prefix + k + ".")
        else:
            yield prefix + k, v


bad, used, documents = set(), set(), 0
for line in sys.stdin:
    documents += 1
    for name, value in leaves(json.loads(line)):
        if name.startswith("acc."):
            continue
        used.add(name)
        field = fields.get(name)
        if not field:
            bad.add(f"{name} is no field of ECS")
            continue
        for x in value if isinstance(value, list) else [value]:
            if field["type"] in ("long", "float", "scaled_float") and not isinstance(x, (int, float)):
                bad.add(f"{name} is no {field['type']}: {x!r}")
            if field["type"] in ("keyword", "ip", "wildcard", "date") and not isinstance(x, str):
                bad.add(f"{name} is no {field['type']}: {x!r}")
            if name in ("event.kind", "event.category", "event.type", "event.outcome") and x not in field["allowed"]:
                bad.add(f"{name} has no value {x}")
print(json.dumps({"documents": documents, "fields": len(used)}))
for b in sorted(bad):
    print(b)
sys.exit(bool(bad))
