import os
import stat
import threading

import pytest

from anybudget.files.lock import held
from anybudget.files.write import write_whole


@pytest.mark.parametrize("name", ["", "law.toml"], ids=["folder", "file"])
def test_who_comes_second_is_told_who_was_first_and_nothing_is_left(tmp_path, name):
    path = tmp_path / name
    with held(path):
        with (
            pytest.raises(ValueError, match=rf"is being written by process {os.getpid()} on .*:"),
            held(path, wait_s=0.01),
        ):
            pytest.fail("it was held")
        with held(tmp_path / "another.toml"):
            pass
    with held(path):
        pass
    assert list(tmp_path.iterdir()) == []


def test_who_waits_comes_next_and_never_beside(tmp_path):
    inside, most = [0], []

    def work():
        for _ in range(20):
            with held(tmp_path, wait_s=60):
                inside[0] += 1
                most.append(inside[0])
                inside[0] -= 1

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 80
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_says_where_a_study_is_kept_is_the_users_alone(tmp_path):
    for name, text in (("a", "find 3h --storage postgresql://me:***@host/db"), ("b", "find 3h")):
        write_whole(tmp_path / name, text)
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) & 0o077 for name in "ab"]
    assert modes[0] == 0
    assert modes[1] != 0
