"""A curriculum file, bound as the page binds it."""

from __future__ import annotations

import warnings
from collections.abc import Callable

from plateau_rule.controller.binding import Binding, bind
from plateau_rule.controller.errors import BindingWarning
from plateau_rule.controller.language.curriculum import Curriculum
from plateau_rule.controller.language.reading import loads
from plateau_rule.controller.machine import Machine

Restate = Callable[[Curriculum], Curriculum]


def bound(text: str, binding: Binding | None = None, file: str = "<text>", restate: Restate | None = None) -> Machine:
    """A curriculum file, bound; states that a limit makes equal are merged without a word.

    Args:
        text: a curriculum file.
        binding: what the run is.
        file: the name that errors show.
        restate: what is to be done with the curriculum before it is bound.

    Raises:
        CurriculumError: the text is no curriculum.
        BindingError: it does not fit.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BindingWarning)
        loaded = loads(text, file)
        return bind(loaded if restate is None else restate(loaded), binding or Binding())
