"""Builds, copies, and drops dicts of strings and numbers, and keeps a few: argument = rounds."""
import sys

kept = []
for i in range(int(sys.argv[1])):
    rows = [{"id": n, "name": "row %d of %d" % (n, i), "price": n * 1.25} for n in range(1000)]
    by_name = {row["name"]: row for row in rows}
    changed = {name: {**row, "price": row["price"] + i} for name, row in by_name.items() if row["id"] % 3}
    kept.append(changed.popitem()[1])
    if len(kept) > 200:
        kept = kept[100:]
