"""A plotly figure that is checked only when somebody looks into it.

Plotly checks and copies every property that a figure is built from, which takes longer than computing what
our figures show. An explorer draws dozens of pictures a second and hands each to the browser as plain data,
so for it there is nothing to check at run time; the tests look into every figure of every explorer.
"""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go


class Picture(go.Figure):
    """A ``go.Figure`` in every respect, built at the first look into it; until then its plain data."""

    def __init__(self, spec: dict[str, Any], **more: Any):
        if more:
            super().__init__(spec, **more)
        else:
            self.__dict__["_spec"] = spec

    def __getattr__(self, name: str) -> Any:  # for what is not there yet: all of a figure, at first
        spec = self.__dict__.pop("_spec", None)
        if spec is None:
            raise AttributeError(f"{type(self).__name__} has no {name}")
        super().__init__(spec)
        return getattr(self, name)

    def __setattr__(self, name: str, value: Any) -> None:
        if "_spec" in self.__dict__:
            self.__getattr__("_data")
        super().__setattr__(name, value)
