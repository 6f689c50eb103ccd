"""A parser's child as it is, but with little memory, so that what needs much is told soon."""

from freshd.parsers import child

if __name__ == "__main__":
    child.MEMORY_BYTES = 420 << 20  # type: ignore[misc]
    child.main()
