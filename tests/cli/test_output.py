"""What commands tell beside their result."""

from types import SimpleNamespace

from anybudget.cli import output


def test_progress_in_a_pipe_is_ever_fewer_lines(capsys, monkeypatch):
    times = iter([0.0, 0.5, 1.1, 2.0, 3.2, 4.0, 99.0, 100.0])
    monkeypatch.setattr(output, "time", SimpleNamespace(monotonic=lambda: next(times)))
    with output.progress() as report:
        report("survey", 0, 1)
        for _ in range(6):
            report("pass 1", 2, 14)
    assert capsys.readouterr() == (
        "",
        "... survey\n... pass 1: 2 of 14\n... pass 1: 6 of 14\n... pass 1: 10 of 14\n",
    )
