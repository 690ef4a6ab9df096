"""What training asks of a model: the dense one's own functions, or those of any blocks."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ....objectives.cost.execution import PLAIN, Execution
from ....objectives.recipe import Recipe
from ....objectives.recipe import scales as dense_scales
from ....space.decoder import Model, as_decoder, is_dense
from .. import model as dense
from ..model import CPU, Backend, Params
from . import decoder
from .forms import ON_ONE_CPU, Forms, attend
from .scales import scales as scales_of_blocks


def param_shapes(arch: Model) -> Params:
    """The shape of every parameter, a tuple, in the tree that the model takes."""
    if is_dense(arch):
        return dense.param_shapes(arch)
    return decoder.param_shapes(as_decoder(arch))


def scales(arch: Model, recipe: Recipe) -> Params:
    """How each array begins and learns, see `objectives.recipe.scales`."""
    if is_dense(arch):
        return dense_scales(arch, recipe)
    return scales_of_blocks(as_decoder(arch), recipe)


def loss(
    params: Params,
    tokens_bt: jax.Array,
    arch: Model,
    execution: Execution = PLAIN,
    backend: Backend = CPU,
    *,
    trained: bool = False,
) -> jax.Array:
    """Mean negative log-likelihood of each token, as `model.loss`.

    Args:
        params: the tree of `param_shapes`.
        tokens_bt: (batch, seq_len + 1) token ids.
        arch: the model, dense or of any blocks.
        execution: how to compute it, all sequences in one pass.
        backend: what it is compiled for.
        trained: with what an uneven router adds, which training lowers too.
    """
    if is_dense(arch):
        return dense.loss(params, tokens_bt, arch, execution, backend)
    lowered, each_bt = decoder.loss(params, tokens_bt, as_decoder(arch), forms(execution, backend))
    return lowered if trained else jnp.mean(each_bt)


def forms(execution: Execution, backend: Backend) -> Forms:
    """How blocks are computed: on one CPU in blocks and in float32, elsewhere as written.

    Raises:
        ValueError: attention is to be one kernel, which those of other blocks than the dense one's
            are not.
    """
    if backend.kind == "cpu" and execution.n_chips == 1:
        attending = ON_ONE_CPU.attend if execution.fused else attend
        return ON_ONE_CPU._replace(attend=attending, remat=execution.remat)
    if execution.fused:
        raise ValueError(
            "fused attention trains dense models alone here, beside a CPU's; give --attention plain"
        )
    return Forms(stream=backend.dtype, remat=execution.remat)
