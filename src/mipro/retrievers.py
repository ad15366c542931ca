"""Not there; an import says what there is instead."""

from mipro._names import absent_module

raise absent_module(__name__)
