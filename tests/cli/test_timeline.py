"""timeline: JSON at events and censuses, text evenly over time."""
import harness

PROGRAM = """
import time
kept = []
for i in range(40):
    kept.append(bytearray(1 << 20))
    kept.append([object() for n in range(20000)])
    time.sleep(0.02)
"""


def record(tmp_path, mode):
    (tmp_path / "grow.py").write_text(PROGRAM)
    logs = tmp_path / mode
    logs.mkdir()
    env = {"TIDEMARK_PYTHON": mode, "TIDEMARK_CENSUS": "20ms"}
    assert harness.run([harness.PYTHON, tmp_path / "grow.py"], logs=logs, env=env).returncode == 0
    return harness.only_log(logs)


def test_rows_of_text_are_even_in_time(tmp_path):
    text = harness.tidemark("timeline", record(tmp_path, "objects"))
    rows = [line for line in text.splitlines() if line[:14].strip().endswith("s") and line[:12].strip().replace(".", "").isdigit()]
    at = [float(line.split()[0]) for line in rows]
    assert len(at) == 40
    steps = [b - a for a, b in zip(at, at[1:])]
    assert max(steps) - min(steps) < 0.0021, steps
    bars = [line.count("#") for line in rows]
    assert max(bars) > 10 and bars[0] < bars[20] < max(bars)


def test_pools_without_events_are_unknown_until_a_census(tmp_path):
    """In `sites` mode nothing tells of small objects between censuses: a row has what the last one counted, or null."""
    rows = harness.answer("timeline", record(tmp_path, "sites"))["timeline"]
    first = next(i for i, row in enumerate(rows) if row["rss_bytes"] is not None)
    assert first > 0 and all(row["live_bytes"] is None for row in rows[:first])
    assert all(row["live_bytes"] is not None for row in rows[first:])
    peak = max(row["live_bytes"] for row in rows[first:])
    assert peak > 40 * (1 << 20) + 40 * 20000 * 16
