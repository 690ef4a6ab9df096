"""A candidate for torchtitan: a Python file with a config, as its registries hold them."""

from __future__ import annotations

from typing import Any

from ...objectives.cost.execution import Remat
from ...objectives.recipe import EPSILON
from .brief import ONE_RATE, Brief, Export, commented, refuse

MODULE = "anybudget_torchtitan"
FILE = f"{MODULE}.py"
COMMAND = (
    "PYTHONPATH=FOLDER torchrun --nproc_per_node=N_DEVICES -m torchtitan.train "
    f"--module {MODULE} --config anybudget --hf_assets_path TOKENIZER --dataloader.dataset c4"
)
CHECKPOINTING = {
    Remat.NONE: "None",
    Remat.DOTS: "SelectiveAC.Config()",
    Remat.LAYER: "FullAC.Config()",
}
# What follows the settings; in it every name in capitals is one of them.
CODE = """
from functools import partial

from torch import nn
from torchtitan.components.loss import CrossEntropyLoss
from torchtitan.components.optimizer import LRSchedulersContainer, default_adamw
from torchtitan.config import TrainingConfig
from torchtitan.distributed.activation_checkpoint import FullAC, SelectiveAC
from torchtitan.distributed.pipeline_parallel import pipeline_llm
from torchtitan.hf_datasets.text_datasets import HuggingFaceTextDataLoader
from torchtitan.models.common import ComplexRoPE, Embedding, Linear, RMSNorm
from torchtitan.models.common.config_utils import (
    get_attention_config,
    make_ffn_config,
    make_gqa_config,
)
from torchtitan.models.common.param_init import skip_param_init
from torchtitan.models.llama3 import Llama3Model, parallelize_llama
from torchtitan.models.llama3.model import Llama3TransformerBlock
from torchtitan.models.llama3.state_dict_adapter import Llama3StateDictAdapter
from torchtitan.protocols.model_spec import ModelSpec
from torchtitan.trainer import Trainer


def normal(std):
    return {"weight": partial(nn.init.normal_, std=std)}


def model(attn_backend="flex"):
    d, f, heads = MODEL["dim"], MODEL["hidden_dim"], MODEL["n_heads"] * MODEL["head_dim"]
    vocab, tied = MODEL["vocab_size"], MODEL["enable_weight_tying"]

    def norm():
        ones = {"weight": nn.init.ones_}
        return RMSNorm.Config(normalized_shape=d, eps=1e-6, param_init=ones)

    def block():
        attention = make_gqa_config(
            dim=d,
            n_heads=MODEL["n_heads"],
            n_kv_heads=MODEL["n_kv_heads"],
            head_dim=MODEL["head_dim"],
            wqkv_param_init=normal(d**-0.5),
            wo_param_init=normal(heads**-0.5),
            inner_attention=get_attention_config(attn_backend),
            rope=ComplexRoPE.Config(
                dim=MODEL["head_dim"], max_seq_len=TRAINING["seq_len"], theta=10_000.0
            ),
            fuse_qkv=True,
        )
        mlp = make_ffn_config(
            dim=d, hidden_dim=f, w1_param_init=normal(d**-0.5), w2w3_param_init=normal(d**-0.5)
        )
        return Llama3TransformerBlock.Config(
            attention_norm=norm(), ffn_norm=norm(), attention=attention, feed_forward=mlp
        )

    embedding = {"weight": skip_param_init} if tied else normal(EMBEDDING_STD)
    return Llama3Model.Config(
        dim=d,
        vocab_size=vocab,
        enable_weight_tying=tied,
        tok_embeddings=Embedding.Config(
            num_embeddings=vocab, embedding_dim=d, param_init=embedding
        ),
        norm=norm(),
        lm_head=Linear.Config(
            in_features=d, out_features=vocab, param_init=normal(d**-0.5)
        ),
        layers=[block() for _ in range(MODEL["n_layers"])],
    )


def anybudget():
    return Trainer.Config(
        model_spec=ModelSpec(
            name="llama3",
            flavor="anybudget",
            model=model(),
            parallelize_fn=parallelize_llama,
            pipelining_fn=pipeline_llm,
            post_optimizer_build_fn=None,
            state_dict_adapter=Llama3StateDictAdapter,
        ),
        loss=CrossEntropyLoss.Config(global_vocab_size=MODEL["vocab_size"]),
        optimizer=default_adamw(**OPTIMIZER),
        lr_scheduler=LRSchedulersContainer.Config(**LR_SCHEDULER),
        training=TrainingConfig(**TRAINING),
        dataloader=HuggingFaceTextDataLoader.Config(),
        activation_checkpoint=ACTIVATION_CHECKPOINT,
    )
"""


def to_torchtitan(brief: Brief) -> Export:
    """A module with the settings as dictionaries, and functions that make a config of them.

    Raises:
        ValueError: the MLP has no gate.

    References:
        torchtitan 0.3.0: models/llama3, models/common/config_utils.py, config/configs.py,
        components/optimizer.
    """
    arch, recipe = brief.arch, brief.recipe
    refuse("torchtitan", {} if arch.gated_mlp else {"gated_mlp=false": "gated_mlp=true"})
    config: dict[str, Any] = {
        "MODEL": {
            "dim": arch.d_model,
            "n_layers": arch.n_layers,
            "n_heads": arch.n_heads,
            "n_kv_heads": arch.n_kv_heads,
            "head_dim": arch.d_head,
            "hidden_dim": arch.d_ff,
            "vocab_size": arch.vocab_size,
            "enable_weight_tying": arch.tied_embeddings,
        },
        "TRAINING": {
            "local_batch_size": brief.device_batch_size,
            "global_batch_size": arch.batch_size,
            "seq_len": arch.seq_len,
            "steps": brief.n_steps,
            "max_norm": recipe.clip_norm,
            "mixed_precision_param": "bfloat16" if brief.is_bfloat16 else "float32",
        },
        "OPTIMIZER": {
            "lr": brief.learning_rate,
            "betas": (recipe.beta1, brief.beta2),
            "eps": EPSILON,
            "weight_decay": brief.weight_decay,
        },
        "LR_SCHEDULER": {
            "warmup_steps": brief.n_warmup_steps,
            "decay_type": "linear",
            "min_lr_factor": 0.0,
        },
    }
    notes = _notes(brief)
    settings = config | {"EMBEDDING_STD": recipe.embedding_std}
    body = "".join(f"{name} = {value!r}\n" for name, value in settings.items()) + CODE
    body += f"\n\nACTIVATION_CHECKPOINT = {CHECKPOINTING[brief.execution.remat]}\n"
    text = commented(brief, "torchtitan", notes, COMMAND, body)
    return Export(files={FILE: text}, config=config, notes=notes, command=COMMAND)


def _notes(brief: Brief) -> list[str]:
    """What torchtitan does otherwise, or wants."""
    return [
        ONE_RATE,
        "matrices begin with a spread of 1/sqrt(width), norms with 1, and norms decay too",
        brief.tokenizer_note,
        "local_batch_size is of each device; it accumulates up to global_batch_size",
        *brief.attention_notes,
    ]
