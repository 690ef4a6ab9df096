"""The report of a search: what was asked, what came out, what shows it, what it rests on."""

from __future__ import annotations

from ...objectives.budget import format_budget
from ...search.answer import Answer
from ...search.find import MAX_RANKED
from ...search.over_time import over_time
from ...search.predict import breakdown
from ..pictures.landscape import landscape
from ..pictures.over_time import loss_over_time
from ..pictures.parts import step_parts
from ..words import advice, loss_interval, lowest, milliseconds, shape_of, time_text
from .basis import assumptions
from .page import Page, Section
from .ranking import ranking

GROUPS = {
    "attention takes": ("qkv", "scores", "weighted_values", "attention_output"),
    "the MLP": ("mlp_up", "mlp_down"),
    "the vocabulary": ("embedding", "logits"),
    "the rest": ("norms", "optimizer", "overhead"),
    "communication": ("communication",),
}


def search_page(answer: Answer) -> Page:
    """A search as a page."""
    objective, made = answer.objective, answer.made
    budget, device = format_budget(objective.time_budget_s), objective.machine
    return Page(
        title=f"{shape_of(answer.best)} in {budget} on {device}",
        question=(
            f"I have {budget} on {device}. Which decoder-only transformer should I train, what "
            "loss will it reach, and how sure is that?"
        ),
        answer=_answer(answer),
        basis=[_how_sure(answer)],
        warnings=answer.warnings,
        sections=[ranking(answer), _landscape(answer), _time(answer), _parts(answer)],
        assumptions=assumptions(answer),
        commands=[made.command],
        made_by=[
            ("anybudget", made.anybudget),
            ("Seed", str(answer.question.seed)),
            ("Date", made.date),
        ],
    )


def _answer(answer: Answer) -> str:
    best, standing = answer.best, answer.standing
    predicted = best.prediction
    interval = (standing.loss_low, standing.loss_high) if standing else None
    return advice(best.arch, predicted.n_params, predicted.n_tokens, best.loss, interval)


def _how_sure(answer: Answer) -> str:
    standing = answer.standing
    proof = "It is the best that Optuna found, not proved to be the optimum."
    if answer.certified and answer.enumerated:
        proof = (
            f"It has {lowest(answer)} of all {answer.n_valid:,} valid architectures of its space, "
            "each of them evaluated."
        )
    elif answer.certified:
        proof = f"It has {lowest(answer)} of all {answer.covered}."
    law = answer.objective.law
    if standing is None:
        return f"{proof} How sure that is, is not known, for {law.name} comes without draws."
    others = len(_tied(answer)) - 1
    tied = f"{others} others are statistically tied with it" if others else "no other is tied"
    tied = "one other is statistically tied with it" if others == 1 else tied
    return (
        f"{proof} Given what is not known of law and step time, {loss_interval(law, standing)}, "
        f"and it is the best with a probability of {standing.p_best:.0%}; {tied}."
    )


def _tied(answer: Answer) -> set[tuple[int, int]]:
    return {answer.best.shape, *answer.tied_shapes}


def _landscape(answer: Answer) -> Section:
    shapes, tied = answer.shapes, _tied(answer)
    best = shape_of(answer.best)
    finding = f"Of {len(shapes):,} shapes, {len(tied) - 1:,} are statistically tied with {best}"
    dots = " White dots are tied with it." if len(tied) > 1 else ""
    if not answer.standings:
        finding = f"{best} is the best of {len(shapes):,} shapes"
    elif len(tied) == 1:
        finding = f"{best} stands alone among {len(shapes):,} shapes"
    return Section(
        finding=finding,
        text=(
            "Each cell is the best model of its width and depth, darker the nearer its loss is to "
            f"the star's.{dots} Lines join models of equal step time (heads as wide as "
            "the star's, d_ff = 4 d_model). "
            f"P(best) and ties are among the {MAX_RANKED} best."
        ),
        pictures=[landscape(shapes, sorted(tied), answer.objective, answer.best)],
    )


def _time(answer: Answer) -> Section:
    curves = over_time(answer.best, answer.space, answer.objective)
    known = [
        (time_text(budget_s), best)
        for budget_s, best in zip(curves.budgets_s, curves.best, strict=True)
        if best.prediction.feasible
    ]
    (first, small), (last, large) = known[0], known[-1]
    return Section(
        finding=(
            f"From {first} to {last} the best shape goes from {shape_of(small)} to "
            f"{shape_of(large)}, and its loss from {small.loss:.2f} to {large.loss:.2f}"
        ),
        text=(
            "Blue: this search's winner, trained for other times. Orange: the best of each time, "
            "by local search from its neighbour's. Where the two part, another time wants another "
            "model."
        ),
        pictures=[loss_over_time(curves, answer.standing, answer.objective.machine)],
    )


def _parts(answer: Answer) -> Section:
    best, objective = answer.best, answer.objective
    parts = breakdown(best.arch, best.prediction, objective)
    timed = {name: part for name, part in parts.items() if part["step_time_s"]}
    step_time_s = sum(part["step_time_s"] for part in timed.values())
    shares = {
        group: sum(timed[name]["step_time_s"] for name in names if name in timed) / step_time_s
        for group, names in GROUPS.items()
    }
    named = [f"{group} {share:.0%}" for group, share in shares.items() if share >= 0.005]
    return Section(
        finding=f"Of the winner's step, {_listed(named)}",
        text=(
            f"{milliseconds(step_time_s, 4)} ms a step of {best.arch.tokens_per_step:,} tokens, "
            "forward and backward, by the step-time model "
            f"“{objective.device.step_time_model.name}”."
        ),
        pictures=[step_parts(timed)],
    )


def _listed(texts: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(texts[:-1]), texts[-1]]))
