"""A second interpreter of the language, written from its reference and sharing nothing but the models with the first.

It keeps the whole history and computes everything anew from it: slow, and short enough to be read beside the reference,
a page of it for each chapter: what is bound, what guards say, which rate is in force, and what a step does.
"""

from tests.controller.naive.bound import Bound
from tests.controller.naive.interpreter import Naive

__all__ = ["Bound", "Naive"]
