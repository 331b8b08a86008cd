"""Rings so small that they wrap hundreds of times: nothing that lives is forgotten, no total is wrong, whenever the process dies."""
import collections
import os
import random
import signal
import time

import harness

RUNS = int(os.environ.get("TIDEMARK_TEST_WRAPPED_KILLS", "60"))


def wrapped(log):
    coverage = harness.answer("report", log, codes=(0, 3))["coverage"]
    assert coverage["lost"] == 0, coverage
    assert coverage["events"] == coverage["in_window"] + coverage["evicted"]
    return coverage


def kill_once(tmp_path, i, delay, **env):
    logs, oracle = tmp_path / f"logs-{i}", tmp_path / f"oracle-{i}"
    logs.mkdir()
    program = harness.Oracle.started(logs, oracle, 4, **env)
    time.sleep(delay)
    program.send_signal(signal.SIGKILL)
    assert program.wait() == -signal.SIGKILL
    return harness.only_log(logs), harness.Oracle(oracle)


def check_killed(log, oracle, whole):
    """`whole`: with the report, which takes the longest by far; else with `info`, which replays nothing. How often the ring has wrapped, and how
    many calls it tells of as dropped: a thread waits 30 ms for one that seals and has no processor, and no longer."""
    if whole:
        coverage = wrapped(log)
    else:
        coverage = harness.answer("info", log, codes=(0, 3))["coverage"]
        assert coverage["lost"] == 0 and coverage["events"] == coverage["in_window"] + coverage["evicted"], coverage
    dropped = sum(coverage["lost_by_reason"][reason] for reason in ("no_space", "reentrant"))
    if whole:
        # of reallocs in flight; all that lives, where a free may have been dropped
        assert coverage["uncertain_bytes"] > 0 if dropped else coverage["uncertain_bytes"] <= 4 * 64 * 4096, coverage
        assert coverage["unverified_events"] <= 5 * 16, coverage  # the threads', and main's: since their last TICK
    wrong = oracle.differences(log)
    assert len(wrong) <= 3 * dropped, (log, wrong)  # a realloc's two halves, and a line that there are too many
    return coverage["evicted"] / coverage["in_window"], dropped


def kill_often(tmp_path, runs):
    """One run in 500 goes on for seconds, in which the ring wraps hundreds of times."""
    generator = random.Random(os.environ.get("TIDEMARK_TEST_SEED", "4"))
    laps, dropping = [], 0
    for i in range(runs):
        delay = 10 if i % 500 == 30 else 0.01 + generator.random() * 0.2
        log, oracle = kill_once(tmp_path, i, delay, TIDEMARK_SIZE="256K")
        lap, dropped = check_killed(log, oracle, i % 10 == 0)
        laps.append(lap)
        dropping += dropped > 0
        log.unlink()
        (tmp_path / f"oracle-{i}").unlink()
    print(f"{dropping} of {runs} runs told of calls that were dropped")
    assert dropping <= 1 + runs // 50
    assert sum(n > 0.5 for n in laps) >= runs // 2 and max(laps) > 50, sorted(laps)[-3:]


def test_kill_while_it_wraps(tmp_path):
    """P35: 4 threads that free each other's blocks; the live set is the oracle's up to the calls in flight."""
    kill_often(tmp_path, RUNS)


def account(output):
    """What wrap_sites printed: {address: (size, site)}, {function: (allocs, bytes)}."""
    blocks, sites = {}, {}
    for line in output.decode().splitlines():
        words = line.split()
        if words[0] == "block":
            blocks[int(words[1], 16)] = (int(words[2]), int(words[3]))
        else:
            sites[words[1]] = (int(words[2]), int(words[3]))
    return blocks, sites


def told(log):
    """The same of the log: {address: (size, site number)}, {site number: (allocs, bytes)}, and when blocks were allocated."""
    blocks, sites, times = {}, {}, {}
    for line in harness.run([harness.BUILD / "tools" / "liveset", "--sites", log]).stdout.decode().splitlines():
        words = line.split()
        if words[0] == "site":
            sites[int(words[1])] = (int(words[2]), int(words[3]))
        elif words[0] != "carried":
            blocks[int(words[0], 16)] = (int(words[1]), int(words[2]))
            times[int(words[0], 16)] = int(words[3])
    return blocks, sites, times


def check_sites(log, output):
    blocks, sites = account(output)
    found, sums, times = told(log)
    missing = [a for a in blocks if found.get(a, (0, 0))[0] != blocks[a][0]]
    assert not missing, (len(missing), len(blocks))
    site_of = {}  # number in the log -> keep_N
    for address, (_, site) in blocks.items():
        assert site_of.setdefault(found[address][1], site) == site, "blocks of two functions have one site"
    for number, site in site_of.items():
        assert sums[number] == sites[f"keep_{site}"], site
    rest = sorted(sums.values())
    for name, total in sites.items():
        assert total in rest, (name, total, "no site has these totals")
        rest.remove(total)
    extra = [a for a in found if found[a][1] in site_of and a not in blocks]
    assert not extra, "blocks that died are listed"
    order = [times[a] for a in blocks]
    return blocks, order


def test_sites_and_totals_are_exact(tmp_path):
    """Long-lived blocks with their site and size, and all that each site ever allocated, after hundreds of laps."""
    done = harness.run([harness.PROGRAMS / "wrap_sites", 2000, 4000000, 500], logs=tmp_path, env={"TIDEMARK_SIZE": "512K"})
    assert done.returncode == 0
    log = harness.only_log(tmp_path)
    coverage = wrapped(log)
    assert coverage["evicted"] > 3500000 and coverage["uncertain_bytes"] == 0, coverage
    blocks, order = check_sites(log, done.stdout)
    assert len(blocks) == 1500
    assert order == sorted(order), "blocks are as old as they were allocated one after the other"


def test_a_forked_child_wraps_too(tmp_path):
    """P22: each process has its own log, exact for what it allocated itself, though both wrapped."""
    done = harness.run([harness.PROGRAMS / "fork_wraps", 300000, 1000], logs=tmp_path, env={"TIDEMARK_SIZE": "256K"})
    assert done.returncode == 0, done.stderr
    lines = [line.split() for line in done.stdout.decode().splitlines()]
    own = {}
    for line in lines:
        if line[0] == "block":
            own.setdefault(int(line[3]), set()).add((int(line[1], 16), int(line[2])))
    logs = harness.logs_in(tmp_path)
    assert len(logs) == 2 and len(own) == 2
    for log in logs:
        coverage = wrapped(log)
        assert coverage["evicted"] > 100000 and coverage["uncertain_bytes"] == 0, coverage
        pid = harness.answer("report", log)["process"]["pid"]
        live = set(harness.live_blocks(log))
        assert not own[pid] - live, (pid, len(own[pid] - live))
        assert len([b for b in live if b not in own[pid] and b[1] in range(40, 137, 16)]) <= 2, "dead blocks are listed"


def test_python_objects(tmp_path):
    """Blocks of pymalloc's pools are carried as those of malloc are."""
    script = ("import gc\nwarm = [(j, -j) for j in range(2500)]\nkept = []\nfor i in range(60):\n"  # empties the free list
              "    junk = [[j] for j in range(4000)]\n    kept.append([(i, j) for j in range(50)])\n"
              "del junk\ngc.collect()\nimport os\nos._exit(0)\n")
    done = harness.run([harness.PYTHON, "-c", script], logs=tmp_path,
                       env={"TIDEMARK_SIZE": "2M", "TIDEMARK_PYTHON": "objects"})  # 130 KB of code objects and sites
    assert done.returncode == 0
    log = harness.only_log(tmp_path)
    coverage = wrapped(log)
    assert coverage["lost_by_reason"]["definitions"] == 0, coverage
    assert coverage["evicted"] > 100000, coverage
    blocks, sums, _ = told(log)
    pairs = collections.Counter(site for size, site in blocks.values() if size == 56)  # (i, j): a header and two words
    site, count = pairs.most_common(1)[0]
    assert 2940 <= count <= 3060, pairs
    assert sums[site][0] >= count


def test_more_lives_than_fits(tmp_path):
    """Then a sample is carried, and says so; totals by site stay exact, and nothing dead is listed."""
    done = harness.run([harness.PROGRAMS / "wrap_sites", 60000, 2000000], logs=tmp_path, env={"TIDEMARK_SIZE": "256K"})
    assert done.returncode == 0
    log = harness.only_log(tmp_path)
    coverage = wrapped(log)
    assert coverage["carried_sample_bytes"] > 0, coverage
    blocks, sites = account(done.stdout)
    found, sums, _ = told(log)
    assert not [a for a, (size, _) in found.items() if a in blocks and blocks[a][0] != size]
    rest = sorted(sums.values())
    for name, total in sites.items():
        assert total in rest, (name, total, "no site has these totals")
        rest.remove(total)
    listed = [a for a in blocks if a in found]
    assert 500 < len(listed) < 60000


def test_damage_is_told_of(tmp_path):
    """A wrapped log with bits flipped, cut, and pages replaced: the same answer, or damage."""
    done = harness.run([harness.PROGRAMS / "wrap_sites", 300, 200000], logs=tmp_path, env={"TIDEMARK_SIZE": "256K"})
    assert done.returncode == 0
    log = harness.only_log(tmp_path)
    assert wrapped(log)["carried_blocks"] >= 200
    times = os.environ.get("TIDEMARK_TEST_BENDS", "1500")
    bent = harness.run([harness.BUILD / "tools" / "bend", log, times], timeout=3000)
    assert bent.returncode == 0, bent.stdout.decode() + bent.stderr.decode()
    assert b"out of scope 0, silent 0, wrong sums 0" in bent.stdout
