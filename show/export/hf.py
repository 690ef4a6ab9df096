"""A candidate for Hugging Face `transformers`: config, trainer's arguments and the recipe.

The trainer takes an optimizer of the user's, so that here every matrix can have its own learning
rate and beginning: `recipe.json` holds them, and docs/export.md has the script that reads them.
"""

from __future__ import annotations

import json

from ...objectives.cost.execution import Remat
from ...objectives.recipe import EPSILON
from ...space.hf_config import hf_from_architecture
from .brief import Brief, Export

CONFIG_FILE, ARGUMENTS_FILE, RECIPE_FILE = "config.json", "training_args.json", "recipe.json"
# The names of `transformers`, each the last but one part of a parameter's, by ours.
NAMES = {
    "embedding": ("embed_tokens",),
    "logits": ("lm_head",),
    "qkv": ("q_proj", "k_proj", "v_proj"),
    "attention_output": ("o_proj",),
    "mlp_gate": ("gate_proj",),
    "mlp_up": ("up_proj",),
    "mlp_down": ("down_proj",),
    "attention_norm": ("input_layernorm",),
    "mlp_norm": ("post_attention_layernorm",),
    "final_norm": ("norm",),
}


def to_hf(brief: Brief) -> Export:
    """`config.json`, keyword arguments of `TrainingArguments`, and each matrix's own settings.

    References:
        `TrainingArguments` of `transformers` 5.24, which take all these names.
    """
    config = hf_from_architecture(brief.arch)
    recipe = brief.recipe
    arguments = {
        "output_dir": "out",
        "max_steps": brief.n_steps,
        "per_device_train_batch_size": brief.device_batch_size,
        "gradient_accumulation_steps": brief.execution.n_accumulation,
        "learning_rate": brief.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": brief.n_warmup_steps,
        "weight_decay": brief.weight_decay,
        "adam_beta1": recipe.beta1,
        "adam_beta2": brief.beta2,
        "adam_epsilon": EPSILON,
        "max_grad_norm": recipe.clip_norm,
        "bf16": brief.is_bfloat16,
        "activation_checkpointing": brief.execution.remat != Remat.NONE,
        "seed": brief.seed,
    }
    rows = {name: row for ours, row in brief.rows() for name in NAMES[ours]}
    notes = [
        f"{ARGUMENTS_FILE} has one learning rate, the recipe's for matrices that read the residual "
        f"stream; {RECIPE_FILE} has every matrix's own and how it begins",
        f"the data must come in sequences of {brief.arch.seq_len} tokens from a vocabulary of "
        f"{brief.arch.vocab_size}",
        brief.devices_note(ARGUMENTS_FILE, "per_device_train_batch_size"),
        *brief.attention_notes,
    ]
    files = {CONFIG_FILE: config, ARGUMENTS_FILE: arguments, RECIPE_FILE: rows}
    return Export(
        files={name: json.dumps(content, indent=2) + "\n" for name, content in files.items()},
        config={name: dict(content) for name, content in files.items()},
        notes=notes,
        command="python train_hf.py FOLDER TOKENS  # the script stands in docs/export.md",
    )
