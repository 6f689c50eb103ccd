"""freshd broken on purpose, again and again, and what stands afterwards held against what should.

    churn ─▶ a run that is killed ─▶ look at what is durable ─▶ recovery ─▶ compare ─▶ again
    tree.py      program.py              place.py              program.py   oracle.py, and an index made anew

`kills.py` kills at every fail point, at every system call that changes a disk, and at random; `cuts.py` takes the
power away; `soak.py` goes on for hours. `python -m tests.torture` runs them; `make test` a slice of each.
"""
