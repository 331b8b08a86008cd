"""The long tier of this folder: the same tests, with large numbers. About an hour on two processors."""
import os

os.environ.update(TIDEMARK_TEST_KILLS="1000", TIDEMARK_TEST_FORKS="1000", TIDEMARK_TEST_STORM="10000", TIDEMARK_TEST_CHURN="100000",
                  TIDEMARK_TEST_MANY="1000x100000")

# pylint: disable=wrong-import-position
import pytest  # noqa: E402
import test_kill  # noqa: E402
import test_lifecycle  # noqa: E402
import test_threads  # noqa: E402


def test_kills(tmp_path):
    test_kill.test_kill_at_random_times(tmp_path)


def test_forks(tmp_path):
    test_lifecycle.test_fork_among_allocating_threads(tmp_path)


def test_storm(tmp_path):
    test_lifecycle.test_fork_and_exec_leave_no_files(tmp_path)


def test_churn(tmp_path):
    test_threads.test_churn(tmp_path)


@pytest.mark.parametrize("size", ["8M", "64M"])
def test_many(tmp_path, size):
    test_threads.test_many_busy_threads(tmp_path, size)
