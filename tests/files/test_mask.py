"""Passwords: in no file that a command writes, and in nothing that it prints."""

import json

import pytest

from anybudget.files.mask import masked, masked_command

MARKER = "s3cr3t-M4rker"


@pytest.mark.parametrize(
    ("text", "without"),
    [
        ("postgresql://me:s3cr3t@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me:s3@cr:3t@db/x", "postgresql://me:***@db/x"),
        ("postgresql://me@db/x?password=s3cr3t&a=1", "postgresql://me@db/x?password=***&a=1"),
        ("mysql://db/x?sslmode=on&api_key=s3cr3t", "mysql://db/x?sslmode=on&api_key=***"),
        ("cannot open http://a:b@c/ now, or d:e@f", "cannot open http://a:***@c/ now, or d:e@f"),
        ("grpc://host:13000", "grpc://host:13000"),
        ("time 12:30@noon", "time 12:30@noon"),
    ],
)
def test_a_text_without_its_secrets(text, without):
    assert masked(text) == without


def test_a_secret_is_taken_out_wherever_a_driver_repeats_it():
    words = ["--storage", "postgresql://me:hun%40ter2@db/x?password=swordfish"]
    said = "password 'hun@ter2' or hun%40ter2 refused; tried swordfish"
    assert masked(said, words) == "password '***' or *** refused; tried ***"
    assert "hun" not in masked_command(words)
    assert "swordfish" not in masked_command(words)


@pytest.mark.parametrize(
    "address",
    [
        f"postgresql://me:{MARKER}@127.0.0.1:1/x",
        f"postgresql://me@127.0.0.1:1/x?password={MARKER}",
        f"mysql://me:{MARKER}@127.0.0.1:1/x",
        f"nonsense://me:{MARKER}@127.0.0.1:1/x",
        f"grpc://me:{MARKER}@127.0.0.1:1",
    ],
)
@pytest.mark.parametrize("command", ["find", "proxy"])
def test_a_marker_password_is_nowhere(run, tmp_path, command, address, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = {
        "find": ("find", "2m", "--device", "cpu-core", "--trials", 1, "--storage", address,
                 "--out", "out"),
        "proxy": ("proxy", address, "--port", 1),
    }[command]  # fmt: skip
    _, out, err = run(*words)
    assert MARKER not in out + err
    for path in tmp_path.rglob("*"):
        assert MARKER not in path.name
        if path.is_file():
            assert MARKER.encode() not in path.read_bytes()


def test_the_kept_command_has_its_addresses_masked(run, tmp_path):
    study = f"db://me:{MARKER}@host/x?token={MARKER}"
    code, out, err = run("find", "2m", "--device", "cpu-core", "--trials", 1, "--study", study,
                         "--out", tmp_path / "out")  # fmt: skip
    assert code == 0
    command = json.loads((tmp_path / "out/result.json").read_text())["command"]
    assert "--study db://me:***@host/x?token=*** --out" in command
    written = [path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(MARKER.encode() in content for content in [*written, (out + err).encode()])
