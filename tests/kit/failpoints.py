"""Where a run can be made to fail; `freshd.faults` arms these by name."""

STEPS = (
    "mid_embed",
    "before_intent",
    "after_intent",
    "mid_upsert",
    "after_upsert",
    "before_delete",
    "before_flush",
    "before_applied",
)
"""Every fail point between having read a file and knowing that the index has it, in the order they are passed."""
