"""Dumps and parses one JSON document again and again, as a worker does with what it is asked: argument = rounds."""
import json
import sys

doc = [{"id": n, "price": n * 1.5, "name": "item %d" % n, "tags": ["a", "b", str(n)]} for n in range(2000)]
for _ in range(int(sys.argv[1])):
    parsed = json.loads(json.dumps(doc))
