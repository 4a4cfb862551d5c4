import ast
import inspect
import typing

from sdk_contract.reasons import Reason
from service.domain.polling import eligibility, offers, refusals, rollout_index
from service.domain.polling.decisions import Decision

OFFERS = {"update"}
BEFORE_ROLLOUTS = {"suspended", "model_disabled", "below_floor", "rollback"}
"""Reasons that `decide` returns without asking a rollout, or after it."""


def reasons_in(module):
    constants = {
        node.value
        for node in ast.walk(ast.parse(inspect.getsource(module)))
        if isinstance(node, ast.Constant)
    }
    return {reason for reason in typing.get_args(Reason) if reason in constants}


def test_every_reason_of_a_rollout_is_decisive_or_has_a_rank():
    decisive = set(offers._DECISIVE_REFUSALS)
    found = reasons_in(offers) | reasons_in(eligibility) | reasons_in(rollout_index)
    assert found >= {"not_in_stage", "in_holdout", "behind_barrier", "no_variant"}
    unranked = found - set(refusals.LEAST_TO_MOST_SPECIFIC) - decisive - OFFERS - BEFORE_ROLLOUTS
    assert unranked == set()


def test_the_most_specific_refusal_wins_and_among_equals_the_first():
    chosen = refusals.most_specific(
        [(0, Decision("not_in_cohort")), (2, Decision("paused", action="none")), (1, Decision("paused"))]
    )
    assert chosen == Decision("paused")
    assert refusals.most_specific([]) == Decision("no_rollout")
