"""Parts that tests build worlds from: a clock that is set by hand, a model that costs nothing, freshd in a folder."""
