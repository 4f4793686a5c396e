"""Groups of parameters by patterns over their paths: each has an optimizer of its own, or none.

    config.optim = {"head": {"match": "^logits/", "name": "adamw", "learning_rate": 1e-3}, "rest": {"name": "frozen"}}

`match` is a regular expression, looked for anywhere in a path.  A group without one is a top-level part of the
parameters: a player of a game.  "rest" is what no other group has.  Every parameter is in exactly one group.

Parameters that are frozen get no gradient, no state of an optimizer and no update: their place in the trees of all
three is empty (`optax.MaskedNode`).
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

import jax
import optax

from train import paths
from train.errors import UserError

FROZEN, REST = "frozen", "rest"
Groups = Mapping[str, Mapping[str, Any]]


def is_groups(spec: Mapping[str, Any]) -> bool:
    return "name" not in spec and bool(spec) and all(isinstance(part, Mapping) for part in spec.values())


def patterns(groups: Groups) -> dict[str, re.Pattern[str]]:
    """What each group but the rest matches."""
    found = {}
    for label, part in groups.items():
        text = part.get("match")
        if label == REST and text is not None:
            raise UserError(f"config.optim.rest is what no other group has; give the group of {text!r} another name")
        if text is not None and not isinstance(text, str):
            raise UserError(f"config.optim.{label}.match={text!r} is no text; write a regular expression over paths")
        if label != REST:
            own = rf"^{re.escape(label)}(/|$)"
            found[label] = paths.pattern(f"config.optim.{label}.match", own if text is None else text)
    return found


def labelled(groups: Groups) -> Callable[[Any], Any]:
    """A tree of parameters → the same tree, of the names of their groups."""
    known = patterns(groups)
    label = lambda name: next((label for label, pattern in known.items() if pattern.search(name)), REST)
    return lambda tree: jax.tree_util.tree_map_with_path(lambda path, _: label(paths.name(path)), tree)


def check(groups: Groups, params: Any) -> None:
    """Refuses a parameter in no group or in two, and a group without any."""
    names, known = list(paths.leaves(params)), patterns(groups)
    top = sorted({name.partition("/")[0] for name in names})
    of = {name: [label for label, pattern in known.items() if pattern.search(name)] for name in names}
    for label in known:
        if any(label in labels for labels in of.values()):
            continue
        text = groups[label].get("match")
        if text is None:
            raise UserError(
                f"config.optim.{label} is no top-level part of the parameters, which are {', '.join(top)}; name one of "
                f"them, or set config.optim.{label}.match to a pattern"
            )
        raise UserError(f"config.optim.{label}.match={text!r} matches no parameter; they are {paths.listed(names, 30)}")
    twice = [name for name in names if len(of[name]) > 1]
    if twice:
        both = [f"config.optim.{label}" for label in of[twice[0]]]
        raise UserError(f"{' and '.join(both)} both have {paths.listed(twice)}; change match of one")
    nowhere = [name for name in names if not of[name]]
    if nowhere and REST not in groups:
        raise UserError(
            f"config.optim ({', '.join(groups)}): no group has {paths.listed(nowhere)}; set config.optim.rest, with an "
            "optimizer or with name='frozen'"
        )
    if not any(is_trained for _, is_trained in fates(groups, params).values()):
        raise UserError("config.optim: every parameter is frozen, so nothing is learnt; give a group an optimizer")


def fates(groups: Groups, params: Any) -> dict[str, tuple[str, bool]]:
    """The group of every parameter, by its path, and whether it is trained."""
    of = paths.leaves(labelled(groups)(params))
    return {name: (label, groups.get(label, {}).get("name") != FROZEN) for name, label in of.items()}


def learner(spec: Mapping[str, Any]) -> Callable[[Any], Any]:
    """Parameters → those that are trained, for `Task.learns`; refuses groups that do not fit them."""
    if not is_groups(spec):
        return lambda params: params

    def learns(params: Any) -> Any:
        check(spec, params)
        of = fates(spec, params)
        keep = lambda path, leaf: leaf if of[paths.name(path)][1] else optax.MaskedNode()
        return jax.tree_util.tree_map_with_path(keep, params)

    return learns


def merged(learnt: Any, params: Any) -> Any:
    """`params`, in which those that are `learnt` are replaced."""
    is_empty = lambda x: isinstance(x, optax.MaskedNode)
    return jax.tree.map(lambda new, old: old if is_empty(new) else new, learnt, params, is_leaf=is_empty)
