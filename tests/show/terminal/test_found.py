"""An answer on the screen: nothing is cut off in 80 columns."""

import io

import pytest
from rich.console import Console

from anybudget import api
from anybudget.show.terminal.found import show_found


@pytest.mark.parametrize(("chips", "d_model", "says_tokens"), [(1, 512, True), (64, 4352, False)])
def test_a_table_too_wide_for_a_terminal_leaves_tokens_out(chips, d_model, says_tokens):
    few = {"d_model": f"{d_model}:{d_model}:64", "n_layers": "74:76", "aspect_ratio": "1:100"}
    machine = {"device": "h100-sxm", "chips": chips, "extrapolate": True}
    answer = api.find("30d", **machine, set=few, trials=1)
    console = Console(file=io.StringIO(), width=80)
    for line in show_found(answer, "default"):
        console.print(line)
    screen = console.file.getvalue()  # type: ignore[union-attr]
    assert "…" not in screen
    assert ("step ms tokens" in screen) == says_tokens
