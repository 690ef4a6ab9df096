"""A candidate for MaxText: a YAML file over its `base.yml`."""

from __future__ import annotations

import yaml

from ...objectives.cost.execution import Remat
from ...objectives.recipe import EPSILON
from .brief import ONE_RATE, Brief, Export, commented

FILE = "maxtext.yml"
REMAT_POLICIES = {
    Remat.NONE: "minimal_with_context",
    Remat.DOTS: "minimal",
    Remat.LAYER: "full",
}
COMMAND = (
    f"python3 -m maxtext.trainers.pre_train.train {FILE} run_name=NAME "
    "base_output_directory=OUTPUT dataset_type=hf hf_path=DATASET tokenizer_path=TOKENIZER"
)


def to_maxtext(brief: Brief) -> Export:
    """A YAML file whose keys override those of MaxText's `base.yml`.

    MaxText's default decoder block is a Llama whose MLP multiplies one projection for each of
    `mlp_activations`, so that it holds gated and plain models alike. Its `wsd` schedule with a
    linear decay that begins where the warmup ends is the recipe's.

    References:
        github.com/AI-Hypercomputer/maxtext, src/maxtext/configs/base.yml of 2026-08-22 (e591f30).
    """
    arch, recipe, device = brief.arch, brief.recipe, brief.objective.device
    config = {
        "base_config": "base.yml",
        "hardware": device.kind,
        "decoder_block": "llama2",
        "base_emb_dim": arch.d_model,
        "base_num_decoder_layers": arch.n_layers,
        "base_num_query_heads": arch.n_heads,
        "base_num_kv_heads": arch.n_kv_heads,
        "head_dim": arch.d_head,
        "base_mlp_dim": arch.d_ff,
        "mlp_activations": ["silu", "linear"] if arch.gated_mlp else ["gelu"],
        "vocab_size": arch.vocab_size,
        "logits_via_embedding": arch.tied_embeddings,
        "normalization_layer_epsilon": 1e-6,
        "rope_max_timescale": 10_000,
        "dtype": device.dtype,
        "weight_dtype": "float32",
        "remat_policy": REMAT_POLICIES[brief.execution.remat],
        "max_target_length": arch.seq_len,
        "per_device_batch_size": brief.device_batch_size,
        "gradient_accumulation_steps": brief.execution.n_accumulation,
        "steps": brief.n_steps,
        "opt_type": "adamw",
        "learning_rate": brief.learning_rate,
        "lr_schedule_type": "wsd",
        "warmup_steps_fraction": recipe.warmup,
        "wsd_decay_steps_fraction": 1 - recipe.warmup,
        "wsd_decay_style": "linear",
        "learning_rate_final_fraction": 0.0,
        "adam_b1": recipe.beta1,
        "adam_b2": brief.beta2,
        "adam_eps": EPSILON,
        "adam_weight_decay": brief.weight_decay,
        "adamw_mask": [".*norm"],
        "gradient_clipping_threshold": recipe.clip_norm,
        "init_weights_seed": brief.seed,
        "data_shuffle_seed": brief.seed,
    }
    notes = _notes(brief)
    body = yaml.safe_dump(config, sort_keys=False)
    text = commented(brief, "MaxText", notes, COMMAND, body)
    return Export(files={FILE: text}, config=config, notes=notes, command=COMMAND)


def _notes(brief: Brief) -> list[str]:
    """What MaxText does otherwise, or wants."""
    arch = brief.arch
    notes = [
        ONE_RATE,
        "matrices begin with a spread of 1/sqrt(fan-in), the query's with less by sqrt(head_dim), "
        "which is then not divided by in attention; norms begin with 1",
        brief.devices_note("the file", "per_device_batch_size"),
        brief.tokenizer_note,
        *brief.attention_notes,
    ]
    if arch.tied_embeddings:
        notes.append("tied logits are divided by sqrt(base_emb_dim)")
    if brief.execution.remat == Remat.NONE:
        notes.append("minimal_with_context keeps all matmuls' outputs, the least MaxText reruns")
    return notes
