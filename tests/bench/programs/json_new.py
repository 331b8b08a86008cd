"""Builds, dumps and parses JSON documents, no two the same, and keeps some: argument = rounds."""
import json
import sys

kept = []
for i in range(int(sys.argv[1])):
    doc = {"user": i, "tags": [str(n) for n in range(40)], "items": [{"id": n, "price": n * 1.5, "name": "item %d" % n} for n in range(60)]}
    parsed = json.loads(json.dumps(doc))
    kept.append(parsed["items"][i % 60])
    if len(kept) > 500:
        kept = kept[250:]
