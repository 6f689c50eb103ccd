"""What finds the main text of pages, as it is but with little memory, so that a page that needs much is told soon."""

from freshd.parsers import child, main_text

if __name__ == "__main__":
    child.MEMORY_BYTES = 300 << 20  # type: ignore[misc]
    child.main(main_text.main_text)
