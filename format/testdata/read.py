import json, msgpack, sys, zstandard

def numbers(column, n):  # what a column of n rows says
    if isinstance(column, dict): return [column.get(i, column.get(-1, 0)) for i in range(n)]
    return [int.from_bytes(b, "little", signed=True) for b in zip(*column)]

stream = zstandard.ZstdDecompressor().stream_reader(open(sys.argv[1], "rb"), read_across_frames=True)
for tag, body in msgpack.Unpacker(stream, strict_map_key=False, max_buffer_size=1 << 28):
    if tag == "header": fields = body["fields"]
    if tag != "block": continue
    events = [{"seq": body["seq"] + i} for i in range(body["rows"])]
    for (name, type, on, key), column in zip(fields, body["cols"]):
        having = [e for e in events if all(e.get(f) in v for f, v in (on or {}).items())]
        words, column = column if type in ("str", "addr") else (None, column)
        last, before = {}, 0
        for e, n in zip(having, numbers(column, len(having))):
            k = tuple(e.get(f) for f in key or [])
            last[k] = before = n = n if key is None else n + last.get(k, before)
            e[name] = words[n].hex() if words else n % 2**64 if type != "int" else (n + 2**63) % 2**64 - 2**63
    for e in events: print(json.dumps(e))
