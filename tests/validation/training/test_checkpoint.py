import resource

import jax
import jax.numpy as jnp
import pytest

from anybudget.validation.training.checkpoint import Checkpoints
from anybudget.validation.training.step import State


def state_of(value):
    return State({"w": jnp.full((3, 2), value), "layers": {"b": jnp.arange(4.0)}}, (jnp.int32(7),))


def test_the_latest_state_comes_back_with_its_clock(tmp_path):
    first = Checkpoints(tmp_path / "new", {"seed": 1, "learning_rate": 0.1})
    assert first.restore(state_of(0.0)) is None
    first.save(state_of(1.0), n_steps=3, train_time_s=0.3)
    first.save(state_of(2.0), n_steps=5, train_time_s=0.1 + 0.2)
    first.close()

    again = Checkpoints(tmp_path / "new", {"seed": 1, "learning_rate": 0.1})
    saved = again.restore(state_of(0.0))
    again.close()
    assert saved is not None
    state, n_steps, train_time_s = saved
    assert (n_steps, train_time_s) == (5, 0.1 + 0.2)
    assert jax.tree.structure(state) == jax.tree.structure(state_of(2.0))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), state, state_of(2.0)))
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["5"]


def test_a_full_disk_leaves_the_checkpoint_before(tmp_path):
    ours = Checkpoints(tmp_path / "run", {"seed": 1})
    ours.save(state_of(1.0), n_steps=3, train_time_s=0.3)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (20, before[1]))
    try:
        with pytest.raises(ValueError, match=r"run cannot be written: File too large; free some"):
            ours.save(state_of(2.0), n_steps=5, train_time_s=0.5)
        with pytest.raises(ValueError, match="free some space"):
            ours.check_room(jax.eval_shape(lambda: state_of(2.0)))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    saved = ours.restore(state_of(0.0))
    assert saved is not None
    assert (saved[0].params["w"] == 1.0).all()
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    ours.close()


def test_another_runs_checkpoint_is_refused(tmp_path):
    theirs = Checkpoints(tmp_path, {"seed": 1, "d_model": 64})
    theirs.save(state_of(1.0), n_steps=3, train_time_s=0.3)
    theirs.close()
    ours = Checkpoints(tmp_path, {"seed": 1, "d_model": 128})
    with pytest.raises(ValueError, match="of a run with d_model=64, not 128; use another folder"):
        ours.restore(state_of(0.0))
    ours.close()
