"""Logs of other programs: read alike, and refused in one line."""

import itertools
import json

import pytest

from anybudget.files import log as module
from anybudget.files.log import follow, read_log

KINDS = {
    "plain.csv": "step,loss,seconds\n1,5,2\n2,4,4\n",
    "tokens.csv": "tokens,loss,lr\n1,5,.1\n2,4,.1\n",
    "wandb.csv": '"Step","wide - train/loss","wide - train/loss__MIN","wide - _runtime"\n'
    "1,5,5,2\n2,4,4,4\n",
    "tensorboard.csv": "Wall time,Step,Value\n2,1,5\n4,2,4\n",
    "log.jsonl": '{"step": 1, "loss": 5, "seconds": 2}\n{"step": 2, "eval_loss": 9}\n'
    '{"step": 2, "loss": 4, "seconds": 4}\n',
    "trainer_state.json": json.dumps(
        {
            "global_step": 2,
            "log_history": [
                {"step": 1, "loss": 5, "learning_rate": 0.1},
                {"step": 2, "loss": 4, "learning_rate": 0.1},
                {"step": 2, "eval_loss": 9},
            ],
        },
        indent=2,
    ),
}


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_says_the_same(tmp_path, name):
    path = tmp_path / name
    path.write_text(KINDS[name])
    log = read_log(path)
    assert (log.at, log.loss, log.truncated) == ((1, 2), (5, 4), False)
    assert log.unit == ("tokens" if name.startswith("tokens") else "step")
    timed = name not in ("tokens.csv", "trainer_state.json")
    assert log.seconds == ((2, 4) if timed else None)


@pytest.mark.parametrize(
    "text",
    ["step,loss,seconds\n1,5,2\n2,4,4\n3,3", '{"step":1,"loss":5}\n{"step":2,"loss":4}\n{"st'],
)
def test_a_torn_last_line_is_left_out_and_told(tmp_path, text):
    path = tmp_path / "log"
    path.write_text(text)
    log = read_log(path)
    assert (log.at, log.loss, log.truncated) == ((1, 2), (5, 4), True)


def test_a_log_is_followed(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    path.write_text("step,loss\n1,5\n")
    added = itertools.chain(["2,4\n", "", "3,3\n"], itertools.repeat(""))

    def nap(seconds):
        assert seconds == 7
        with path.open("a") as file:
            file.write(next(added))

    monkeypatch.setattr(module.time, "sleep", nap)
    seen = [log.at for log in itertools.islice(follow(path, 7), 3)]
    assert seen == [(1,), (1, 2), (1, 2, 3)]


BAD = {
    "empty": (b"", "must be a training log, but is empty"),
    "header alone": (b"step,loss\n", "must have a line for each logged step, but has none"),
    "no loss": (b"step,accuracy\n1,2\n", "must have a column loss, but has none"),
    "no order": (b"loss,seconds\n1,2\n", "must have a column step or tokens, but has none"),
    "no number": (b"step,loss\n1,high\n", "line 2: `loss` must be a number, but got 'high'"),
    "not positive": (b"step,loss\n1,-2\n", "line 2: `loss` must be above 0 nats per token"),
    "short line": (b"step,loss\n1\n2,3\n", "line 2: must have 2 cells, as the header has"),
    "column twice": (
        b"step,loss,loss\n1,2,3\n",
        "must have each column once, but has 'loss' twice",
    ),
    "two runs": (
        b"Step,a - loss,b - loss\n1,2,3\n",
        "must have the loss of one run, but has a - loss, b - loss; keep one of them",
    ),
    "cut JSON": (b'{\n "log_history": [\n  {"step": 1', "not valid JSON: it was cut or is damaged"),
    "no object": (b'{"step": 1, "loss": 2}\n[3]\n', "line 2: must be a JSON object, but got '[3]'"),
    "bytes": (b"step,loss\n1,\xff\n", "it is not UTF-8 text"),
    "no loss anywhere": (b"step,loss\n1,\n", "must have a loss somewhere in `loss`, but has none"),
    "step missing": (b"step,loss\n,2\n", "line 2: `step` is missing beside a loss"),
    "negative step": (b"step,loss\n-1,2\n", "line 2: `step` must be from 0 to 1e+18, but got -1"),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_log_is_one_line(tmp_path, name):
    content, message = BAD[name]
    path = tmp_path / "log"
    path.write_bytes(content)
    with pytest.raises(ValueError) as caught:  # noqa: PT011 - the message is what is looked at
        read_log(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
