"""Memory: what a program needs and what there is, from files and statistics made up for the test."""

import types

import pytest

from pipeline.errors import StageError
from pipeline.predict import memory

GB = 10**9
NEED = memory.Need(temporary=6 * GB, arguments=2 * GB, outputs=GB, code=0)


def system(root, files):
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


MEMINFO = {"proc/meminfo": "MemTotal:  9 kB\nMemFree: 1 kB\nMemAvailable:   8000000 kB\n"}


def test_the_need_is_the_sum_of_the_plan():
    plan = types.SimpleNamespace(
        temp_size_in_bytes=1, argument_size_in_bytes=20, output_size_in_bytes=300, generated_code_size_in_bytes=4000
    )
    assert memory.need_of(plan).total == 4321
    assert memory.need_of(None) is None


def test_too_much_is_refused_with_numbers_and_a_way_out():
    with pytest.raises(
        StageError,
        match=r"t1: the network needs 9\.0 GB of memory, and 8\.5 GB are available; lower predict\.max_extra_msa",
    ):
        memory.check(NEED, int(8.5 * GB), "t1")
    memory.check(NEED, 9 * GB, "t1")


def test_what_lies_in_memory_already_is_not_counted_again():
    memory.check(NEED, 8 * GB, "t1", present=GB)
    with pytest.raises(StageError, match=r"needs 9\.0 GB of memory, and 8\.9 GB are available"):
        memory.check(NEED, int(7.9 * GB), "t1", present=GB)


def test_what_is_not_known_is_not_refused():
    memory.check(None, 0, "t1")
    memory.check(NEED, None, "t1")


def test_without_a_limit_the_system_says_what_is_free(tmp_path):
    assert memory.free_on_host(system(tmp_path, MEMINFO)) == 8_000_000 * 1024


def test_a_machine_without_these_files_says_nothing(tmp_path):
    assert memory.free_on_host(tmp_path) is None


def test_a_cgroup_of_version_2_counts_where_it_leaves_less(tmp_path):
    files = {
        **MEMINFO,
        "proc/self/cgroup": "0::/user/job\n",
        "sys/fs/cgroup/user/job/memory.max": "max\n",
        "sys/fs/cgroup/user/job/memory.current": "5\n",
        "sys/fs/cgroup/user/memory.max": "5000\n",
        "sys/fs/cgroup/user/memory.current": "3000\n",
        "sys/fs/cgroup/user/memory.stat": "anon 2500\ninactive_file 400\n",
    }
    assert memory.free_on_host(system(tmp_path, files)) == 2400


def test_in_a_container_the_limit_is_at_the_mount(tmp_path):
    files = {
        **MEMINFO,
        "proc/self/cgroup": "0::/../../elsewhere\n",
        "sys/fs/cgroup/memory.max": "5000\n",
        "sys/fs/cgroup/memory.current": "6000\n",
    }
    assert memory.free_on_host(system(tmp_path, files)) == 0


def test_a_cgroup_of_version_1_counts_where_it_leaves_less(tmp_path):
    files = {
        **MEMINFO,
        "proc/self/cgroup": "7:cpu,cpuacct:/a\n4:memory:/a/b\n0::/\n",
        "sys/fs/cgroup/memory/a/b/memory.limit_in_bytes": "9000\n",
        "sys/fs/cgroup/memory/a/b/memory.usage_in_bytes": "1000\n",
        "sys/fs/cgroup/memory/a/b/memory.stat": "inactive_file 1\ntotal_inactive_file 30\n",
        "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
        "sys/fs/cgroup/memory/memory.usage_in_bytes": "1000\n",
    }
    assert memory.free_on_host(system(tmp_path, files)) == 8030


def test_an_accelerator_says_what_is_free():
    assert memory.free_on_device({"bytes_limit": 80, "bytes_in_use": 30}) == 50
    assert memory.free_on_device({"bytes_in_use": 30}) is None
    assert memory.free_on_device(None) is None
