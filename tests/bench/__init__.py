"""What freshd costs, each figure beside a baseline taken in the same run: `python -m tests.bench`.

Machines are noisy, so contenders take turns, each is measured several times, and ratios are what counts.
Nothing here is a test: no figure is asserted, only that both sides did the same work.

    first-index    a first index               beside embedding the same texts and nothing else
    rescan         a pass that finds nothing   beside `git status`, and beside `find`
    amplification  what an update re-embeds    beside a fixed-size splitter, and beside what was written
    latency        write → found by search     beside embedding one chunk
    answers        status, metrics, the page   while a first index runs, beside a daemon at rest
    pressure       an edit                     amid a first index, and amid a branch switch, beside one at rest
    start          a command, and the daemon   until it is ready; and what the daemon costs at rest
    compaction     a search, and an edit       while a worn shard is made anew, beside one at rest
    curve          the same work               on ever more chunks, and with ever more of them changed

`python -m tests.bench.rescan N` does the second over N files, and asks the daemon meanwhile.
`python -m tests.bench.retrieval` scores search on a set of questions, for one size of chunks or several; minutes each.
"""
