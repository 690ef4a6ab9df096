"""A candidate for LitGPT: a YAML file for `litgpt pretrain`."""

from __future__ import annotations

import yaml

from ...objectives.recipe import EPSILON
from .brief import ONE_RATE, Brief, Export, commented

FILE = "litgpt.yaml"
COMMAND = (
    f"litgpt pretrain --config {FILE} --tokenizer_dir TOKENIZER "
    "--data TextFiles --data.train_data_path TEXTS"
)


def to_litgpt(brief: Brief) -> Export:
    """A YAML file with the sections `model_config`, `train` and `optimizer`.

    Its plain MLP is GPT-NeoX's, its gated one Llama's; the vocabulary is padded to multiples of 512
    unless it is said how far.

    References:
        litgpt 0.5.13, config.py, args.py and pretrain.py.
    """
    arch, recipe = brief.arch, brief.recipe
    config = {
        "model_name": "anybudget",
        "model_config": {
            "name": "anybudget",
            "block_size": arch.seq_len,
            "n_layer": arch.n_layers,
            "n_embd": arch.d_model,
            "n_head": arch.n_heads,
            "n_query_groups": arch.n_kv_heads,
            "head_size": arch.d_head,
            "mlp_class_name": "LLaMAMLP" if arch.gated_mlp else "GptNeoxMLP",
            "intermediate_size": arch.d_ff,
            "gelu_approximate": "tanh",
            "vocab_size": arch.vocab_size,
            "padded_vocab_size": arch.vocab_size,
            "norm_class_name": "RMSNorm",
            "norm_eps": 1e-6,
            "bias": False,
            "parallel_residual": False,
            "rotary_percentage": 1.0,
        },
        "precision": "bf16-mixed" if brief.is_bfloat16 else "32-true",
        "devices": brief.execution.n_chips,
        "seed": brief.seed,
        "train": {
            "global_batch_size": arch.batch_size,
            "micro_batch_size": brief.device_batch_size,
            "max_tokens": brief.n_tokens,
            "max_seq_length": arch.seq_len,
            "lr_warmup_steps": brief.n_warmup_steps,
            "min_lr": 0.0,
            "max_norm": recipe.clip_norm,
            "tie_embeddings": arch.tied_embeddings,
        },
        "optimizer": {
            "class_path": "torch.optim.AdamW",
            "init_args": {
                "lr": brief.learning_rate,
                "weight_decay": brief.weight_decay,
                "betas": [recipe.beta1, brief.beta2],
                "eps": EPSILON,
            },
        },
    }
    notes = _notes(brief)
    body = yaml.safe_dump(config, sort_keys=False)
    text = commented(brief, "LitGPT", notes, COMMAND, body)
    return Export(files={FILE: text}, config=config, notes=notes, command=COMMAND)


def _notes(brief: Brief) -> list[str]:
    """What LitGPT does otherwise, or wants."""
    return [
        ONE_RATE,
        "it falls on a cosine, not on a line",
        "matrices begin with a spread of sqrt(0.4 / n_embd), those that write to the residual "
        "stream with 1 / (n_layer sqrt(n_embd)); norms begin with 1, and decay too",
        brief.tokenizer_note,
        "micro_batch_size is of each device; global_batch_size over it is what it accumulates",
        *brief.attention_notes,
    ]
