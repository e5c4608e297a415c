"""Rules of the primitives in `lowering.py` for two of JAX's experimental interpreters.

Both interpret a jaxpr by a table of primitives: `jax.experimental.jet`, Taylor series, and
`jax.experimental.roofline`, operations and bytes. Their results are those of JAX's own operations.
"""

from __future__ import annotations

from typing import Any

import jax
from jax.experimental import jet, roofline

from resnet_jax.layers.ops.forms import Forms
from resnet_jax.layers.ops.lowering import compute_once, compute_once_p, per_platform_p


def _series_of_same(primals: Any, series: Any) -> Any:
    (x,), (terms,) = primals, series
    return compute_once(x), [compute_once(term) for term in terms]


def _series_of_default(primals: Any, series: Any, *, function: Forms) -> Any:
    return jet.jet(function.default, primals, series)


def _cost_of_default(context: Any, *_: Any, function: Forms) -> roofline.RooflineResult:
    arguments = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in context.avals_in]
    return roofline.roofline(function.default)(*arguments)[1]


_series: dict[Any, Any] = jet.jet_rules
_series[compute_once_p] = _series_of_same
_series[per_platform_p] = _series_of_default
roofline.register_standard_roofline(compute_once_p)
roofline.register_roofline(per_platform_p)(_cost_of_default)
