"""A candidate for Hugging Face `transformers`: the model's config and the trainer's arguments."""

from __future__ import annotations

import json

from ..space.hf_config import hf_from_architecture
from .export_plan import ONE_RATE, Export, Plan
from .recipe import EPSILON

CONFIG_FILE, ARGUMENTS_FILE = "config.json", "training_args.json"
COMMAND = (
    f"Trainer(model=AutoModelForCausalLM.from_config(AutoConfig.from_pretrained('{CONFIG_FILE}')), "
    f"args=TrainingArguments(**json.load(open('{ARGUMENTS_FILE}'))), train_dataset=DATASET).train()"
)


def to_hf(plan: Plan) -> Export:
    """`config.json` for `AutoConfig` and the keyword arguments of `TrainingArguments`.

    References:
        `TrainingArguments` of `transformers` 5.24, which take all these names.
    """
    config = hf_from_architecture(plan.arch) | {"initializer_range": 0.02}
    recipe = plan.recipe
    arguments = {
        "output_dir": "out",
        "max_steps": plan.n_steps,
        "per_device_train_batch_size": plan.arch.batch_size,
        "learning_rate": plan.learning_rate,
        "lr_scheduler_type": "linear",
        "warmup_steps": plan.n_warmup_steps,
        "weight_decay": plan.weight_decay,
        "adam_beta1": recipe.beta1,
        "adam_beta2": recipe.beta2,
        "adam_epsilon": EPSILON,
        "max_grad_norm": recipe.clip_norm,
        "bf16": plan.is_bfloat16,
        "activation_checkpointing": plan.remat,
        "seed": plan.seed,
    }
    notes = [
        ONE_RATE,
        f"all matrices begin with a spread of {config['initializer_range']}, and all norms with 1",
        f"the data must come in sequences of {plan.arch.seq_len} tokens from a vocabulary of "
        f"{plan.arch.vocab_size}",
        f"{ARGUMENTS_FILE} is for one device; for n, divide per_device_train_batch_size by n",
    ]
    files = {CONFIG_FILE: config, ARGUMENTS_FILE: arguments}
    return Export(
        files={name: json.dumps(content, indent=2) + "\n" for name, content in files.items()},
        config={name: dict(content) for name, content in files.items()},
        notes=notes,
        command=COMMAND,
    )
