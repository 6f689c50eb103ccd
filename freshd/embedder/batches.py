"""Which texts go through the model together. Pure."""

from collections.abc import Iterator, Sequence

BATCH_TEXTS = 8
BATCH_TOKENS = 512
"""Padding included. Measured with the bundled model on two cores, tokens per second, best of three:

                      80 paragraphs (48 tokens each)    24 chunks (170 tokens each)
    texts × tokens       1 thread    2 threads             1 thread    2 threads
    one by one             1,258        2,147                1,196        1,518
    8 × 256                1,285        2,313                1,166        1,857
    8 × 512                1,236        2,307                1,127        1,721
    8 × 1,024              1,193        2,248                1,003        1,986
    8 × 2,048              1,006        1,809                  958        1,837

fastembed's own default, 256 texts unsorted, ran at 279 and 395 on 200 paragraphs, and took 3.9 GB.
On two cores of an Intel Xeon that multiplies int8 by itself, 240 chunks of the Django documentation:
4,143 and 6,767; the best of seven shapes there, 4 × 256, was 6 % faster on two threads and 4 % slower on one.
So neither is found out anew on each machine: there is little to win.

512 is the largest that needs no more memory than loading the model does (305 MB; 8 × 2,048: 541 MB).
"""


def plan_batches(counts: Sequence[int]) -> Iterator[list[int]]:
    """Group texts of like length, shortest first: padding is what batches waste most.

    Args:
        counts: Tokens of each text.

    Yields:
        Indices into `counts`, each once; a text larger than the budget goes alone.

    """
    batch: list[int] = []
    for index in sorted(range(len(counts)), key=counts.__getitem__):
        padded = counts[index] * (len(batch) + 1)
        if batch and (len(batch) == BATCH_TEXTS or padded > BATCH_TOKENS):
            yield batch
            batch = []
        batch.append(index)
    if batch:
        yield batch
