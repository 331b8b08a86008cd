"""A victim: many blocks of many sizes, most of them dropped; then sys._debugmallocstats() and, at once, the end without finalization."""
import os
import sys

keep = []
for i in range(60000):
    block = bytes(i % 480)
    if i % 97 == 0 or i < 5000:
        keep.append(block)
del block
sys.stdout.flush()
sys._debugmallocstats()
os._exit(0)
