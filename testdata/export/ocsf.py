"""Holds OCSF events (JSON lines on standard input) against a checkout of github.com/ocsf/ocsf-schema:

    acc export --format ocsf incident.acc | python3 ocsf.py CHECKOUT

Every attribute must be one of its object, of its type, and those that are required must be there."""
import glob, json, os, sys

root = sys.argv[1]
load = lambda p: json.load(open(p))
objects, profiles = {}, {}
for p in glob.glob(root + "/objects/*.json") + glob.glob(root + "/extensions/linux/objects/*.json"):
    o = load(p)
    objects.setdefault(o.get("name") or o.get("extends"), []).append(o)
for p in glob.glob(root + "/profiles/*.json"):
    o = load(p)
    profiles[o["name"]] = o
dictionary = load(root + "/dictionary.json")
types = dictionary["types"]["attributes"]


def included(d):
    """attributes of a definition, with what it includes"""
    out = {}
    attrs = dict(d.get("attributes", {}))
    for inc in [attrs.pop("$include", [])] + [d.get("$include", [])]:
        for p in [inc] if isinstance(inc, str) else inc:
            if os.path.exists(os.path.join(root, p)):
                more = included(load(os.path.join(root, p)))
                if p.startswith("profiles/") and not p.endswith("/host.json"):  # which acc does not have
                    more = {k: {**v, "requirement": "optional"} for k, v in more.items()}
                out.update(more)
    out.update(attrs)
    return out


def members(name):
    out = {}
    for d in objects[name]:
        base = d.get("extends")
        if base and base != name:
            out.update(members(base))
    for d in objects[name]:
        for k, v in included(d).items():
            out[k] = {**out.get(k, {}), **v}
    return out


def event():
    out = {}
    for p in ("events/base_event.json", "events/network/network.json", "events/network/network_activity.json"):
        for k, v in included(load(os.path.join(root, p))).items():
            out[k] = {**out.get(k, {}), **v}
    for k, v in included(profiles["host"]).items():
        out.setdefault(k, v)
    return out


PLAIN = {"integer_t": int, "long_t": int, "string_t": str, "boolean_t": bool, "float_t": (int, float)}


def check(value, attrs, where):
    for k, v in value.items():
        if k not in attrs:
            yield f"{where}.{k} is not in the schema"
            continue
        kind = dictionary["attributes"][k]["type"]
        for x in v if isinstance(v, list) else [v]:
            of = dictionary["attributes"][k].get("object_type", kind)
            if kind in ("object_t", "json_t") or of in objects:
                if not isinstance(x, dict):
                    yield f"{where}.{k} is no object"
                elif of in objects and of != "object":
                    yield from check(x, members(of), f"{where}.{k}")
                continue
            base = kind if kind in PLAIN else types[kind].get("type", kind)
            if base in PLAIN and not isinstance(x, PLAIN[base]):
                yield f"{where}.{k} is no {kind}: {x!r}"
            words = {**dictionary["attributes"][k].get("enum", {}), **attrs[k].get("enum", {})}
            if words and k.endswith("_id") and str(x) not in words:
                yield f"{where}.{k} has no value {x}"
    for k, a in attrs.items():
        if a.get("requirement") == "required" and k not in value and not a.get("profile"):
            yield f"{where}.{k} is required"


attrs, n, bad = event(), {}, set()
for line in sys.stdin:
    e = json.loads(line)
    n[e["activity_name"]] = n.get(e["activity_name"], 0) + 1
    bad |= set(check(e, attrs, "event"))
print(json.dumps(n))
for b in sorted(bad):
    print(b)
sys.exit(bool(bad))
