"""Widgets for configuration fields, with type, range and default taken from the pydantic models."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args, get_origin

import streamlit as st
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from toolkit.ui.explanations import explained


@dataclass(frozen=True)
class FormField:
    """One field on a form. path : dotted, such as "model.r_max"; what it does is said in `explanations`.

    options : the choices of a text field that cannot say them itself
    """

    path: str
    label: str
    options: tuple[str, ...] = ()


def draw_form(page: str, config_class: type[BaseModel], fields: Sequence[FormField],
              values: dict[str, Any]) -> dict[str, Any]:
    """Draw one widget a field and return a copy of `values` with what the user chose.

    values : nested defaults, such as a preset; a value the user has set on this page before wins
    """
    result = _copy(values)
    for field in fields:
        info = _field_info(config_class, field.path)
        *parents, last = field.path.split(".")
        group = result
        for parent in parents:
            group = group.setdefault(parent, {})
        default = group.get(last, info.get_default(call_default_factory=True))
        shared = {"label": field.label, "key": f"{page}.{field.path}", "persist_state": "session",
                  "help": explained(f"{page.partition('.')[0]}.{field.path}")}
        options, kind = _kind(info.annotation)
        group[last] = _widget(shared, info, default, field.options or options, kind)
    return result


def forget_form(page: str, fields: Sequence[FormField]) -> None:
    """Go back to the defaults at the next drawing."""
    for field in fields:
        st.session_state.pop(f"{page}.{field.path}", None)


def _widget(shared: dict[str, str], info: FieldInfo, default: Any, options: tuple[Any, ...], kind: type) -> Any:
    """The first value goes through the session: given to the widget it would not reach a browser that shows another."""
    key = shared["key"]
    if options:
        st.session_state.setdefault(key, default)
        return st.selectbox(options=options, **shared)
    if kind is bool:
        st.session_state.setdefault(key, default)
        return st.toggle(**shared)
    if isinstance(default, list | tuple):
        st.session_state.setdefault(key, ", ".join(map(str, default)))
        return _parts(st.text_input(**shared))
    if kind is str or isinstance(default, str):
        st.session_state.setdefault(key, default or "")
        return st.text_input(**shared)
    low, high = _bounds(info)
    empty = {"value": None} if default is None else {}
    if kind is int:
        st.session_state.setdefault(key, default)
        return st.number_input(min_value=low, max_value=high, step=1, **empty, **shared)
    st.session_state.setdefault(key, _float(default))
    return st.number_input(min_value=_float(low), max_value=_float(high), format="%g", step=_step(default),
                           **empty, **shared)


def _parts(text: str) -> list[str]:
    """The entries of a comma-separated list; the configuration turns them into numbers, or refuses them."""
    return [part.strip() for part in text.split(",")]


def _kind(annotation: Any) -> tuple[tuple[Any, ...], type]:
    """The choices of a Literal, else the first simple type of an annotation such as `int | None`."""
    if get_origin(annotation) is Literal:
        return get_args(annotation), str
    for candidate in (annotation, *get_args(annotation)):
        if candidate in (bool, int, float, str):
            return (), candidate
    raise TypeError(f"no widget for {annotation}")


def _field_info(config_class: type[BaseModel], path: str) -> FieldInfo:
    *parents, last = path.split(".")
    for parent in parents:
        config_class = config_class.model_fields[parent].annotation
    return config_class.model_fields[last]


def _bounds(info: FieldInfo) -> tuple[float | None, float | None]:
    lows = [getattr(item, "ge", None) for item in info.metadata]
    highs = [getattr(item, "le", None) for item in info.metadata]
    return next((v for v in lows if v is not None), None), next((v for v in highs if v is not None), None)


def _float(value: float | None) -> float | None:
    return None if value is None else float(value)


def _step(default: float | None) -> float:
    """A tenth of the default's power of ten: 300 -> 10, 0.5 -> 0.01."""
    return 10.0 ** (math.floor(math.log10(default)) - 1) if default else 0.1


def _copy(values: dict[str, Any]) -> dict[str, Any]:
    return {key: _copy(value) if isinstance(value, dict) else value for key, value in values.items()}
