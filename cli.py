"""The command line: parse, call one function, print."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

if TYPE_CHECKING:
    from .machines.engines import Engine
    from .objectives.device import Device
    from .objectives.loss_at_time import LossAtTime
    from .objectives.uncertainty import Draws
    from .search.question import Question, Words
    from .space.architecture import Architecture
    from .validation.timing.calibrate import Calibration

MISTAKE, INTERRUPTED = 2, 130
# A pipe has no width: nothing is cut there.
PIPE_WIDTH = 200

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The best decoder-only transformer for a time budget on a given machine.",
)

Budget = Annotated[str, typer.Argument(help="Training time: 90s, 15m, 3h, 1h30m, 2d.")]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="A name of `anybudget devices`, or a TOML file.")
]
LawOption = Annotated[
    str | None,
    typer.Option("--law", help="A name of `anybudget laws`, or a TOML file; default: by device."),
]
SpaceOption = Annotated[
    str | None,
    typer.Option("--space", help="default, cpu (the default on a CPU), or a TOML file."),
]
SeedOption = Annotated[int, typer.Option(help="Of all randomness.", min=0)]
OutOption = Annotated[
    Path | None, typer.Option("--out", help="Folder for results, tables and figures.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="One JSON document on stdout.")]
RematOption = Annotated[
    str, typer.Option(help="Run blocks again in the backward pass: none, dots, layer, or auto.")
]
AttentionOption = Annotated[
    str, typer.Option(help="plain: scores are written to memory; or fused, one kernel.")
]
CriticalOption = Annotated[
    bool, typer.Option(help="Tokens in large batches count for less, so the batch can be searched.")
]
EngineOption = Annotated[
    str | None,
    typer.Option("--engine", help="A fresh process for each job: local, ray or slurm."),
]
WorkersOption = Annotated[
    int | None, typer.Option("--workers", help="Jobs at once; needs --engine.", min=1)
]
AddressOption = Annotated[
    str | None, typer.Option("--address", help="Of a running Ray cluster, as HOST:6379.")
]
RequestOption = Annotated[
    list[str] | None,
    typer.Option(
        "--request", help="What each job asks for: TPU=4 of ray, slurm_partition=gpu. Repeatable."
    ),
]
PriceOption = Annotated[
    float | None, typer.Option(help="US dollars for an hour of one device; default: its file's.")
]
ChipsOption = Annotated[int, typer.Option("--chips", help="Devices that split every batch.", min=1)]
DataOption = Annotated[
    float | None, typer.Option(help="Unique tokens that there are; repeated ones count for less.")
]

# The fields of one architecture.
DModelOption = Annotated[int | None, typer.Option(help="Width.")]
NLayersOption = Annotated[int | None, typer.Option(help="Depth.")]
NHeadsOption = Annotated[int | None, typer.Option(help="Query heads; default d_model / 64.")]
NKvHeadsOption = Annotated[int | None, typer.Option(help="Default n_heads.")]
DHeadOption = Annotated[int | None, typer.Option(help="Default 64.")]
DFfOption = Annotated[int | None, typer.Option(help="Default 4 d_model.")]
GatedMlpOption = Annotated[bool | None, typer.Option(help="Gated MLP; default plain.")]
TiedEmbeddingsOption = Annotated[bool | None, typer.Option(help="Default tied.")]
VocabSizeOption = Annotated[int | None, typer.Option(help="Default 32000.")]
SeqLenOption = Annotated[int | None, typer.Option(help="Default 1024.")]
BatchSizeOption = Annotated[int | None, typer.Option(help="Sequences a step; default 8.")]


@app.command()
def find(
    budget: Budget,
    device: DeviceOption = None,
    law: LawOption = None,
    space: SpaceOption = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="One field of the space, as d_model=256:4096:128. Repeatable."),
    ] = None,
    top: Annotated[int, typer.Option(help="Candidates to show.")] = 10,
    distinct: Annotated[
        str, typer.Option(help="Candidates differ in `shape` (width, depth) or `architecture`.")
    ] = "shape",
    trials: Annotated[int, typer.Option(help="Distinct architectures for Optuna to try.")] = 300,
    sampler: Annotated[str, typer.Option(help="auto, tpe, cma, nsga2, qmc or random.")] = "auto",
    storage: Annotated[
        str | None,
        typer.Option(help="Keep the study, alone or with others: a journal file, or a URL."),
    ] = None,
    study: Annotated[str, typer.Option(help="Name of the kept study.")] = "anybudget",
    certify: Annotated[bool, typer.Option(help="Prove the optimum by enumeration.")] = True,
    remat: RematOption = "auto",
    attention: AttentionOption = "plain",
    data_limit_tokens: DataOption = None,
    critical_batch: CriticalOption = False,
    chips: ChipsOption = 1,
    price: PriceOption = None,
    seed: SeedOption = 0,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find the architecture with the lowest predicted loss for a time budget."""
    from .presets.spaces import default_space
    from .search.explore.study import Exploring
    from .search.find import find
    from .search.question import Words

    question = _ask(
        Words(
            budget=budget,
            device=device,
            law=law,
            space=space,
            settings=tuple(settings or ()),
            remat=remat,  # type: ignore[arg-type]
            attention=attention,  # type: ignore[arg-type]
            data_limit_tokens=data_limit_tokens,
            critical_batch=critical_batch,
            chips=chips,
            price=price,
            seed=seed,
        )
    )
    folder = _writable(out)
    with _progress() as report:
        found = find(
            question,
            top=top,
            distinct=distinct,  # type: ignore[arg-type]
            exploring=Exploring(
                n_trials=trials, sampler=sampler, storage=storage, study_name=study
            ),
            certify=certify,
            on_progress=report,
        )
    if folder:
        from .show.save import save

        save(found, folder, command=_command(), seed=seed)
    if as_json:
        print(json.dumps(found.as_dict()))
        return
    from .show.terminal.found import show_found

    space = space or default_space(question.objective.device.kind)
    _print(show_found(found, space))
    if folder:
        _print_written(folder, sorted(path.name for path in folder.iterdir()))


@app.command()
def batch(
    plan: Annotated[Path, typer.Argument(help="A TOML file of searches; see docs/batch.md.")],
    seed: Annotated[
        int | None, typer.Option(help="Of all randomness, where the plan says nothing.", min=0)
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for results; default: the plan's name, beside it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make many searches, those on one space at the price of a few; take up where stopped."""
    from .search.batch.curves import fit_curves
    from .search.batch.plan import load_plan
    from .search.batch.run import run_batch
    from .show.save_batch import save_batch
    from .show.terminal.batch import show_batch

    questions = [_warned(question) for question in load_plan(plan, seed=seed or 0)]
    folder = out or plan.with_suffix("")
    _writable(folder)
    for warning in dict.fromkeys(warning for one in questions for warning in one.warnings):
        _tell(f"! {warning}")
    with _progress() as report:
        table = run_batch(questions, folder, on_progress=report)
    curves = fit_curves(questions, table)
    files = save_batch(questions, table, curves, folder, plan=plan, command=_command())
    if as_json:
        tables = (("searches", table), ("curves", curves))
        rows = {name: one.astype(object).where(one.notna(), None) for name, one in tables}
        rows = {name: one.to_dict(orient="records") for name, one in rows.items()}
        print(json.dumps({"plan": str(plan), "folder": str(folder)} | rows))
        return
    _print(show_batch(table, curves))
    _print_written(folder, files)


@app.command()
def proxy(
    storage: Annotated[str, typer.Argument(help="URL of the database behind it.")],
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 13000,
) -> None:
    """Serve a database's studies to `find --storage grpc://HOST:PORT`, until interrupted."""
    from .search.explore.storage import serve

    serve(storage, host, port, on_ready=_tell)


@app.command()
def front(
    budget: Budget,
    against: Annotated[str, typer.Argument(help="time or memory.")],
    device: DeviceOption = None,
    law: LawOption = None,
    space: SpaceOption = None,
    settings: Annotated[
        list[str] | None, typer.Option("--set", help="One field of the space. Repeatable.")
    ] = None,
    trials: Annotated[int, typer.Option(help="Architectures to try.")] = 2000,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Trade predicted loss against training time or memory: a Pareto front."""
    from .search.front import front
    from .search.question import Words, ask
    from .show.terminal.found import show_front

    question = ask(
        Words(
            budget=budget,
            device=device,
            law=law,
            space=space,
            settings=tuple(settings or ()),
            seed=seed,
        )
    )
    frame = front(question, against=against, n_trials=trials)  # type: ignore[arg-type]
    if as_json:
        print(frame.to_json(orient="records"))
    else:
        _print(show_front(frame, question.objective))


@app.command()
def predict(
    budget: Budget,
    d_model: DModelOption = None,
    n_layers: NLayersOption = None,
    n_heads: NHeadsOption = None,
    n_kv_heads: NKvHeadsOption = None,
    d_head: DHeadOption = None,
    d_ff: DFfOption = None,
    gated_mlp: GatedMlpOption = None,
    tied_embeddings: TiedEmbeddingsOption = None,
    vocab_size: VocabSizeOption = None,
    seq_len: SeqLenOption = None,
    batch_size: BatchSizeOption = None,
    config: Annotated[Path | None, typer.Option(help="A Hugging Face config.json.")] = None,
    device: DeviceOption = None,
    law: LawOption = None,
    remat: RematOption = "auto",
    attention: AttentionOption = "plain",
    data_limit_tokens: DataOption = None,
    critical_batch: CriticalOption = False,
    chips: ChipsOption = 1,
    price: PriceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Predict step time, tokens and loss of one architecture, part by part."""
    given = {name: value for name, value in locals().items() if value is not None}
    from .search.predict import predict, read_architecture
    from .search.question import Words
    from .space.architecture import FIELDS

    words = Words(
        budget=budget,
        device=device,
        law=law,
        remat=remat,  # type: ignore[arg-type]
        attention=attention,  # type: ignore[arg-type]
        data_limit_tokens=data_limit_tokens,
        critical_batch=critical_batch,
        chips=chips,
        price=price,
    )
    fields = {name: given[name] for name in FIELDS if name in given}
    arch, note = read_architecture(fields, config)
    answer = predict(_ask(words, arch), note)
    if as_json:
        print(json.dumps(answer.as_dict()))
        return
    from .show.terminal.found import show_prediction

    _print(show_prediction(answer.as_dict(), answer.question.objective))


@app.command()
def fit(
    runs: Annotated[Path, typer.Argument(help="A CSV with n_params, n_tokens, measured_loss.")],
    method: Annotated[str, typer.Option(help="varpro, linear or multi_start.")] = "varpro",
    form: Annotated[
        str,
        typer.Option(
            help="Further terms: none, a form by name, or auto, kept if they pay, and copying too."
        ),
    ] = "auto",
    kappa: Annotated[
        float | None, typer.Option(help="Power in the law; default: kept below 1 if it pays.")
    ] = None,
    copying: Annotated[
        bool, typer.Option(help="Whether auto may find that runs learn to copy, where that pays.")
    ] = True,
    n_convention: Annotated[
        str | None, typer.Option(help="N counts `total` or `non_embedding` parameters.")
    ] = None,
    huber_delta: Annotated[
        float, typer.Option(help="Threshold on the log residual; 0: from the residuals' spread.")
    ] = 0.001,
    draws: Annotated[int, typer.Option(help="Bootstrap draws.", min=100)] = 1000,
    seed: SeedOption = 0,
    out: Annotated[
        Path | None, typer.Option("--out", help="Law file, .toml, as `find --law` takes it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Fit a loss law to training runs, with its uncertainty and its held-out error."""
    from .objectives.fit.report import report_law
    from .presets.presets import read_runs, save_law
    from .show.terminal.law import show_law

    if out and (out.suffix != ".toml" or not out.parent.is_dir()):
        raise ValueError(f"--out must be a .toml file in an existing folder, but got {str(out)!r}")
    report = report_law(
        read_runs(runs),
        name=out.stem if out else runs.stem,
        source=f"fitted to {runs.name} by anybudget fit",
        method=method,  # type: ignore[arg-type]
        form=form,
        kappa=kappa,
        copying=copying,
        n_convention=n_convention,  # type: ignore[arg-type]
        huber_delta=huber_delta,
        n_draws=draws,
        seed=seed,
    )
    if out:
        save_law(out, report.law, report.draws.values if report.draws else None)
    if as_json:
        print(json.dumps(report.as_dict()))
    else:
        _print(show_law(report))


@app.command()
def devices(as_json: JsonOption = False) -> None:
    """List the devices, each with where its numbers come from."""
    from .presets.presets import device_names, load_device
    from .show.terminal.found import show_devices

    rows = [load_device(name) for name in device_names()]
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
    else:
        _print(show_devices(rows))


@app.command()
def laws(as_json: JsonOption = False) -> None:
    """List the loss laws, each with its convention, range and source."""
    from .presets.presets import law_names, load_law
    from .show.terminal.found import show_laws

    rows = [load_law(name) for name in law_names()]
    if as_json:
        print(json.dumps([dataclasses.asdict(row) for row in rows]))
    else:
        _print(show_laws(rows))


@app.command()
def confirm(
    result: Annotated[
        Path | None, typer.Argument(help="DIR of `find --out DIR`, or its result.json.")
    ] = None,
    device: DeviceOption = None,
    top: Annotated[int, typer.Option(help="Candidates of the result to train.")] = 3,
    contrast: Annotated[int, typer.Option(help="Others, spread over predicted loss.")] = 5,
    seeds: Annotated[int, typer.Option(help="Runs of each model.")] = 1,
    scale: Annotated[float, typer.Option(help="Share of the result's time budget.")] = 1.0,
    corpus: Annotated[
        str, typer.Option(help="python, c4, or a file or folder of text.")
    ] = "python",
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    request: RequestOption = None,
    distributed: Annotated[
        bool, typer.Option("--distributed", help="One of several processes; see docs/chips.md.")
    ] = False,
    seed: SeedOption = 0,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Train the best of a result, and contrast, and set measured beside predicted."""
    from .machines.host import keep_freed_memory
    from .machines.machine import pin_cores
    from .presets.presets import load_device
    from .search.result import load_result

    if result is None:
        raise ValueError("confirm takes a result: `find BUDGET --out DIR`, then `confirm DIR`")
    found = load_result(result)
    chip = load_device(device) if device else found.objective.device
    folder = out or (result if result.is_dir() else result.parent) / "confirm"
    fan_out = _engine(engine, workers, address, request, n_cores=_n_cores_of(chip))
    if fan_out is None:
        keep_freed_memory()
        pin_cores(_n_cores_of(chip))
    elif distributed:
        raise ValueError("--distributed trains in these processes; leave out --engine")
    is_first = not distributed or _join()
    if is_first:
        _writable(folder)
    from .show.save import save_confirmation
    from .show.terminal.confirmation import show_confirmation
    from .validation.confirm.confirm import confirm

    confirmation = confirm(
        found,
        folder,
        n_seeds=seeds,
        corpus=corpus,
        engine=fan_out,
        draws=_draws_of_preset(found.objective, device),
        on_progress=_tell if is_first else lambda line: None,
        device=chip,
        top=top,
        contrast=contrast,
        scale=scale,
        seed=seed,
    )
    if not is_first:
        return
    save_confirmation(confirmation, folder, command=_command())
    if as_json:
        print(json.dumps(confirmation.as_dict()))
        return
    _print(show_confirmation(confirmation))
    _print_written(folder, ["confirm.json", "confirm.png", "models.csv", "runs.csv"])


@app.command()
def refine(
    result: Annotated[Path, typer.Argument(help="DIR of `find --out DIR`, or its result.json.")],
    runs: Annotated[
        list[Path] | None, typer.Option("--runs", help="CSV of earlier runs. Repeatable.")
    ] = None,
    rounds: Annotated[int, typer.Option(help="The most rounds to make.")] = 3,
    device: DeviceOption = None,
    top: Annotated[int, typer.Option(help="Candidates to train in each round.")] = 3,
    contrast: Annotated[int, typer.Option(help="Others, spread over predicted loss.")] = 5,
    seeds: Annotated[int, typer.Option(help="Runs of each model.")] = 1,
    corpus: Annotated[
        str, typer.Option(help="python, c4, or a file or folder of text.")
    ] = "python",
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    request: RequestOption = None,
    seed: SeedOption = 0,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Confirm a result, refit the law on all runs, search again; until nothing changes."""
    from .machines.host import keep_freed_memory
    from .machines.machine import pin_cores
    from .search.result import load_result

    found = load_result(result)
    folder = out or (result if result.is_dir() else result.parent) / "refine"
    _writable(folder)
    n_cores = _n_cores_of(found.objective.device)
    fan_out = _engine(engine, workers, address, request, n_cores=n_cores)
    if fan_out is None:
        keep_freed_memory()
        pin_cores(n_cores)
    from .show.save import draw_round
    from .show.terminal.rounds import show_rounds
    from .validation.confirm.refine import refine

    done = refine(
        found,
        folder,
        runs=runs or (),
        rounds=rounds,
        device=device,
        seed=seed,
        command=_command(),
        on_progress=_tell,
        on_round=draw_round,
        n_seeds=seeds,
        corpus=corpus,
        engine=fan_out,
        top=top,
        contrast=contrast,
    )
    if as_json:
        print(json.dumps([one.as_dict() for one in done]))
        return
    _print(show_rounds(done))
    _print_written(folder, [f"round-{one.number}" for one in done])


@app.command()
def export(
    result: Annotated[Path, typer.Argument(help="DIR of `find --out DIR`, or its result.json.")],
    to: Annotated[str, typer.Option("--to", help="hf, maxtext, nanogpt or levanter.")],
    candidate: Annotated[int, typer.Option(help="Which of the result; the best is 1.")] = 1,
    seed: SeedOption = 0,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write a candidate of a result as a config for another trainer."""
    from .search.result import load_result
    from .show.export.export import export, export_as_dict, save_export, show_export

    exported = export(load_result(result), to, candidate=candidate, seed=seed)
    folder = out or (result if result.is_dir() else result.parent) / "export" / to
    _writable(folder)
    save_export(exported, folder)
    if as_json:
        print(json.dumps(export_as_dict(exported, folder)))
        return
    _print(show_export(exported, folder))
    _print_written(folder, list(exported.files))


@app.command()
def calibrate(
    quick: Annotated[bool, typer.Option("--quick", help="A minute instead of ten.")] = False,
    cores: Annotated[
        int | None,
        typer.Option(help="CPU cores to use; default one, all beside an accelerator.", min=1),
    ] = None,
    engine: EngineOption = None,
    workers: WorkersOption = None,
    address: AddressOption = None,
    request: RequestOption = None,
    topology: Annotated[
        str | None,
        typer.Option(help="A TPU chip that is not here, as v5e:1x1: by its compiler, in hours."),
    ] = None,
    timeout: Annotated[
        float, typer.Option(help="Seconds for each compilation, with --topology.", min=1)
    ] = 1800.0,
    steps: Annotated[
        Path | None,
        typer.Option(help="A CSV of timed steps, yours or others'; needs --device."),
    ] = None,
    device: Annotated[
        str | None, typer.Option("--device", help="What ran the --steps: a name, or a TOML file.")
    ] = None,
    basis: Annotated[
        str, typer.Option(help="Who timed the --steps: others, published; or you, measured.")
    ] = "published",
    seed: SeedOption = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            help="Device file, .toml; default: where find looks; TOPOLOGY.toml, TABLE.toml.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Time unlike architectures on this machine and fit its step-time model."""
    from .show.terminal.calibration import show_calibration

    if steps:
        path = out or Path(f"{steps.stem}.toml")
        found = _calibrate_table(path, steps, device, basis=basis, seed=seed)
        print(json.dumps(found.as_dict())) if as_json else _print(show_calibration(found, path))
        return
    fan_out = _engine(engine, workers, address, request, n_cores=cores)
    fit: Callable[..., Calibration]
    if topology:
        from .validation.compiler.calibrate import DEFAULT, QUICK, calibrate_compiled

        path = out or Path(f"{topology.replace(':', '-')}.toml")
        fit = functools.partial(calibrate_compiled, topology=topology, timeout_s=timeout)
    else:
        from .machines.host import keep_freed_memory
        from .machines.machine import pin_cores

        if fan_out is None:
            keep_freed_memory()
            pin_cores(cores)
        from .files.places import calibrated_device_path
        from .validation.timing.calibrate import calibrate as fit
        from .validation.timing.step_design import DEFAULT, QUICK

        path = out or calibrated_device_path()
    with _progress() as report:
        found = fit(
            path,
            effort=QUICK if quick else DEFAULT,
            seed=seed,
            engine=fan_out,
            on_progress=report,
        )
    if as_json:
        print(json.dumps(found.as_dict()))
    else:
        _print(show_calibration(found, path))


def _calibrate_table(
    path: Path, steps: Path, device: str | None, *, basis: str, seed: int
) -> Calibration:
    from .presets.presets import load_device
    from .validation.timing.calibrate_table import calibrate_table

    if device is None:
        raise ValueError(
            "--steps needs --device, what ran them: a name of `anybudget devices`, or a TOML file "
            "with peak_flops_per_s, bandwidth_bytes_per_s and memory_bytes"
        )
    return calibrate_table(path, steps, load_device(device), basis=basis, seed=seed)  # type: ignore[arg-type]


@app.command()
def report(
    folder: Annotated[Path, typer.Argument(help="DIR of `find --out DIR`, confirmed or not.")],
    out: Annotated[
        Path | None, typer.Option("--out", help="HTML file; default: report.html in the folder.")
    ] = None,
) -> None:
    """Write a search, and its confirmation, as one HTML page that needs no network."""
    from .show.page.report import write_report

    _print([f"Written: {escape(str(write_report(folder, out)))}"])


@app.command("compile")
def compile_step(
    topology: Annotated[
        str, typer.Argument(help="TPU and its chips: v5e:1x1, v5p:2x2x1, v6e:4x4.")
    ],
    d_model: DModelOption = None,
    n_layers: NLayersOption = None,
    n_heads: NHeadsOption = None,
    n_kv_heads: NKvHeadsOption = None,
    d_head: DHeadOption = None,
    d_ff: DFfOption = None,
    gated_mlp: GatedMlpOption = None,
    tied_embeddings: TiedEmbeddingsOption = None,
    vocab_size: VocabSizeOption = None,
    seq_len: SeqLenOption = None,
    batch_size: BatchSizeOption = None,
    result: Annotated[
        Path | None, typer.Option(help="DIR of `find --out DIR`: its best instead of one.")
    ] = None,
    top: Annotated[int, typer.Option(help="Candidates of the result.", min=1)] = 3,
    remat: Annotated[
        str | None, typer.Option(help="none, dots or layer; default none, or the result's.")
    ] = None,
    attention: Annotated[
        str | None,
        typer.Option(help="plain; or fused, whose memory alone is told; default as the result's."),
    ] = None,
    scan: Annotated[bool, typer.Option("--scan", help="Layers in a loop.")] = False,
    sharding: Annotated[str, typer.Option(help="Chips share data, or full: also state.")] = "data",
    with_time: Annotated[
        bool, typer.Option("--time/--no-time", help="Step times; without, seconds, not minutes.")
    ] = True,
    timeout: Annotated[
        float, typer.Option(help="Seconds for each; then what is known by then.", min=1)
    ] = 150.0,
    as_json: JsonOption = False,
) -> None:
    """Let a TPU's compiler judge a training step, without a TPU (extra `tpu`)."""
    given = {name: value for name, value in locals().items() if value is not None}
    from .show.terminal.compiled import show_compiled
    from .space.architecture import FIELDS
    from .validation.compiler.compiled import compile_all

    steps = compile_all(
        topology,
        fields={name: given[name] for name in FIELDS if name in given},
        result=result,
        top=top,
        remat=remat,
        attention=attention,
        scan_layers=scan,
        sharding=sharding,
        with_time=with_time,
        timeout_s=timeout,
        on_progress=_tell,
    )
    if as_json:
        print(json.dumps([step.as_dict() for step in steps]))
    else:
        _print(show_compiled(steps))


def main() -> None:
    """Run the command line; a user's mistake is one line on stderr and exit code 2."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # a terminal without × still shows the rest
    try:
        code = app(args=sys.argv[1:] or ["--help"], standalone_mode=False)
        if code == INTERRUPTED:
            print("anybudget: interrupted; finished work is kept", file=sys.stderr)
    except ValueError as error:
        code = _mistake(str(error))
    except OverflowError:
        code = _mistake("a model must be small enough to count, but these numbers are too large")
    except Exception as error:
        # The parser's own complaints: an unknown option, a missing argument, a bad number.
        message = getattr(error, "format_message", None)
        if message is None:
            raise
        code = _mistake(message())
    sys.exit(code)


def _mistake(message: str) -> int:
    print(f"anybudget: {' '.join(message.split())}", file=sys.stderr)
    return MISTAKE


def _join() -> bool:
    """Wait for the other processes of a training; whether this one is the first of them."""
    from .validation.training.hosts import is_first, join_processes

    join_processes()
    return is_first()


def _draws_of_preset(objective: LossAtTime, device: str | None) -> Draws | None:
    """Draws of a shipped law; a result holds no more of a law than its numbers."""
    from .presets.presets import law_names, load_draws

    name = objective.law.name
    return load_draws(objective, device, name) if name in law_names() else None


def _print_written(folder: Path, names: list[str]) -> None:
    _print([f"\nWritten to {escape(str(folder))}: {', '.join(names)}"])


def _ask(words: Words, arch: Architecture | None = None) -> Question:
    """The question that the options put, with what is to be known of this machine."""
    from .search.question import ask

    return _warned(ask(words, arch))


def _warned(question: Question) -> Question:
    """The question with a sentence where its device was calibrated on another machine."""
    from .validation.backend import machine_warning

    if question.warnings or not (warning := machine_warning(question.objective.device)):
        return question
    return dataclasses.replace(question, warnings=(warning,))


def _n_cores_of(device: Device) -> int | None:
    """As many cores as a device was calibrated on, as far as this machine has them."""
    from .machines.machine import count_cores

    n_cores = device.calibration.get("n_cores")
    return min(n_cores, count_cores()) if isinstance(n_cores, int) else None


def _engine(
    name: str | None,
    workers: int | None,
    address: str | None,
    request: list[str] | None,
    *,
    n_cores: int | None,
) -> Engine | None:
    """The engine that was asked for; None: this process."""
    from .machines.engines import Engine

    if name is None:
        if workers or address or request:
            raise ValueError("--workers, --address and --request need --engine local, ray or slurm")
        return None
    pairs = [one.partition("=") for one in request or ()]
    if wrong := [pair[0] for pair in pairs if not pair[2]]:
        raise ValueError(f"--request takes NAME=VALUE, but got {wrong[0]!r}")
    requests = {key: value for key, _, value in pairs}
    return Engine(name=name, n_workers=workers, n_cores=n_cores, address=address, requests=requests)


def _command() -> str:
    """The command line, for the records."""
    return " ".join(["anybudget", *sys.argv[1:]])


def _tell(line: str) -> None:
    """A line of progress, beside the result and not in it."""
    print(line, file=sys.stderr, flush=True)


def _writable(folder: Path | None) -> Path | None:
    """The folder, made where it is missing, or a refusal before any work is done."""
    if folder is None:
        return None
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / ".writable"
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise ValueError(
            f"--out {folder} cannot be written: {error.strerror}; name another folder"
        ) from None
    return folder


def _print(lines: Iterable[Any]) -> None:
    terminal = sys.stdout.isatty()
    console = Console(highlight=False, width=None if terminal else PIPE_WIDTH)
    for line in lines:
        console.print(line, soft_wrap=not terminal)


@contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar for each stage on a terminal's stderr, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda stage, done, total: None
        return
    from rich.progress import BarColumn, Progress, TimeRemainingColumn

    columns = ("{task.description}", BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        tasks: dict[str, Any] = {}

        def report(stage: str, done: int, total: int) -> None:
            if stage not in tasks:
                tasks[stage] = bars.add_task(stage, total=total)
            bars.advance(tasks[stage], done)

        yield report
