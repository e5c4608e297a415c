"""Traced programs, of which only some of the results are wanted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
from jax.extend.core import Literal, jaxpr_as_fun


def inputs_of_outputs(program: Any) -> list[set[int]]:
    """Finds the arguments that each result of a program of `jax.make_jaxpr` depends on.

    Returns:
        The numbers of these arguments, a set for each result.
    """
    known: dict[Any, set[int]] = {var: {i} for i, var in enumerate(program.jaxpr.invars)}

    def of(variables: Sequence[Any]) -> set[int]:
        found = (known.get(var, set()) for var in variables if not isinstance(var, Literal))
        return set().union(*found)

    for equation in program.jaxpr.eqns:
        known.update(dict.fromkeys(equation.outvars, of(equation.invars)))
    return [of([var]) for var in program.jaxpr.outvars]


def constant_outputs(program: Any) -> dict[int, jax.Array]:
    """Returns the results that the program holds as arrays, by their number."""
    constants = dict(zip(program.jaxpr.constvars, program.consts, strict=True))
    return {
        number: constants[var]
        for number, var in enumerate(program.jaxpr.outvars)
        if not isinstance(var, Literal) and var in constants
    }


def run_part(program: Any, arguments: Sequence[Any], wanted: Sequence[int]) -> list[jax.Array]:
    """Runs a program; when this is compiled, only what the wanted results need is computed."""
    results = jaxpr_as_fun(program)(*arguments)
    return [results[number] for number in wanted]
