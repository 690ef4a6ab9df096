"""A candidate for Levanter: a YAML file for `levanter.main.train_lm`."""

from __future__ import annotations

import yaml

from ...objectives.cost.execution import Remat
from ...objectives.recipe import EPSILON
from .brief import ONE_RATE, Brief, Export, commented, refuse

FILE = "levanter.yaml"
COMMAND = f"python -m levanter.main.train_lm --config_path {FILE}"
# Parts of the paths of all weights but the norms'; without this, the embedding does not decay.
DECAYED = ["self_attn", "mlp", "embeddings", "lm_head"]


def to_levanter(brief: Brief) -> Export:
    """A YAML file with the sections `model`, `trainer` and `optimizer`; the user adds `data`.

    Raises:
        ValueError: the MLP has no gate.

    References:
        github.com/marin-community/marin, lib/levanter: docs/reference/Configuration.md (05fb186),
        models/llama.py (0cf7458), main/train_lm.py (00cba33), optim/config.py (0f45aa1);
        trainer.py as in github.com/stanford-crfm/levanter of 2025-09-26 (9263f81).
    """
    arch, recipe = brief.arch, brief.recipe
    refuse("levanter", {} if arch.gated_mlp else {"gated_mlp=false": "gated_mlp=true"})
    config = {
        "model": {
            "type": "llama",
            "max_seq_len": arch.seq_len,
            "hidden_dim": arch.d_model,
            "num_layers": arch.n_layers,
            "num_heads": arch.n_heads,
            "num_kv_heads": arch.n_kv_heads,
            "head_dim": arch.d_head,
            "intermediate_dim": arch.d_ff,
            "layer_norm_epsilon": 1e-6,
            "tie_word_embeddings": arch.tied_embeddings,
            "gradient_checkpointing": brief.execution.remat != Remat.NONE,
        },
        "train_seq_len": arch.seq_len,
        "trainer": {
            "seed": brief.seed,
            "mp": "p=f32,c=bfloat16" if brief.is_bfloat16 else "f32",
            "train_batch_size": arch.batch_size,
            "per_device_parallelism": brief.device_batch_size,
            "num_train_steps": brief.n_steps,
        },
        "optimizer": {
            "type": "adam",
            "learning_rate": brief.learning_rate,
            "lr_schedule": "linear",
            "warmup": recipe.warmup,
            "min_lr_ratio": 0.0,
            "weight_decay": brief.weight_decay,
            "weight_decay_modules": DECAYED,
            "beta1": recipe.beta1,
            "beta2": brief.beta2,
            "epsilon": EPSILON,
            "max_grad_norm": recipe.clip_norm,
        },
    }
    notes = [
        ONE_RATE,
        "matrices and the embedding begin as Levanter's layers do, norms with 1",
        f"the vocabulary is that of data.tokenizer, which must have {arch.vocab_size} tokens",
        "Levanter before October 2025 says model.seq_len instead of max_seq_len, and has no "
        "train_seq_len",
        *brief.attention_notes,
    ]
    body = yaml.safe_dump(config, sort_keys=False)
    text = commented(brief, "Levanter", notes, COMMAND, body)
    return Export(files={FILE: text}, config=config, notes=notes, command=COMMAND)
