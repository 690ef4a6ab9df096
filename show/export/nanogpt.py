"""A candidate for nanoGPT: a Python file that its `train.py` reads, where its model can be had."""

from __future__ import annotations

from .brief import ONE_RATE, Brief, Export, commented, refuse

FILE = "anybudget_nanogpt.py"
COMMAND = f"python train.py {FILE} --dataset=DATASET"


def to_nanogpt(brief: Brief) -> Export:
    """Assignments to the settings at the head of nanoGPT's `train.py`.

    Its model is GPT-2's: plain MLP of four times the width, as many key as query heads that fill
    the width, tied embeddings. The vocabulary comes with the data. The loop makes one step more
    than `max_iters`.

    Raises:
        ValueError: the candidate is of another shape.

    References:
        github.com/karpathy/nanoGPT, train.py and model.py of 2025-11-12 (3adf61e).
    """
    _check(brief)
    arch, recipe, device = brief.arch, brief.recipe, brief.objective.device
    execution = brief.execution
    config = {
        "out_dir": "out-anybudget",
        "n_layer": arch.n_layers,
        "n_head": arch.n_heads,
        "n_embd": arch.d_model,
        "block_size": arch.seq_len,
        "bias": False,
        "dropout": 0.0,
        "batch_size": brief.device_batch_size,
        "gradient_accumulation_steps": execution.n_chips * execution.n_accumulation,
        "max_iters": brief.n_steps - 1,
        "lr_decay_iters": brief.n_steps - 1,
        "warmup_iters": brief.n_warmup_steps,
        "learning_rate": brief.learning_rate,
        "min_lr": 0.0,
        "weight_decay": brief.weight_decay,
        "beta1": recipe.beta1,
        "beta2": brief.beta2,
        "grad_clip": recipe.clip_norm,
        "dtype": device.dtype,
        "device": "cpu" if device.kind == "cpu" else "cuda",
    }
    notes = [
        ONE_RATE,
        "it falls on a cosine, not on a line",
        "all matrices begin with a spread of 0.02, those that write to the residual stream with "
        "less by sqrt(2 n_layer); norms begin with 1",
        "norms subtract the mean (LayerNorm), and Adam's epsilon is 1e-8",
        f"positions are learned, {arch.seq_len * arch.d_model:,} more parameters, which nanoGPT "
        "leaves out when it says how many there are",
        f"data/DATASET/meta.pkl must say vocab_size {arch.vocab_size}; else nanoGPT takes 50304",
        brief.devices_note("the file", "batch_size") + "; gradient_accumulation_steps is n",
        *brief.attention_notes,
    ]
    body = "".join(f"{name} = {value!r}\n" for name, value in config.items())
    text = commented(brief, "nanoGPT", notes, COMMAND, body)
    return Export(files={FILE: text}, config=config, notes=notes, command=COMMAND)


def _check(brief: Brief) -> None:
    arch, clashes = brief.arch, {}
    if arch.gated_mlp:
        clashes["gated_mlp=true"] = "gated_mlp=false"
    if arch.d_ff != 4 * arch.d_model:
        clashes[f"d_ff={arch.d_ff} (only 4 d_model, {4 * arch.d_model})"] = "ff_ratio=4:4"
    if arch.n_kv_heads != arch.n_heads:
        clashes[f"n_kv_heads={arch.n_kv_heads} (only n_heads, {arch.n_heads})"] = (
            f"n_heads={arch.n_heads} n_kv_heads={arch.n_heads}"
        )
    if arch.n_heads * arch.d_head != arch.d_model:
        clashes[f"{arch.n_heads} heads of {arch.d_head} (they must fill d_model)"] = (
            "heads_fill_width=true"
        )
    if not arch.tied_embeddings:
        clashes["tied_embeddings=false"] = "tied_embeddings=true"
    if arch.vocab_size > 1 << 16:
        clashes[f"vocab_size={arch.vocab_size} (its data has 16 bits)"] = "vocab_size=50304"
    refuse("nanogpt", clashes)
