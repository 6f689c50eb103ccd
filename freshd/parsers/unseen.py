"""Characters that show nothing but can carry a message: zero width, direction, tags, runs of variation selectors.

People never see them and models read them, so no format's text keeps them; line numbers stay those of the source.
"""

import re

VERSION = "unseen-1"

# Controls, which no page shows; soft hyphen, zero-width spaces, marks and overrides of direction,
# invisible operators and fillers, tag characters.
_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b\u200e\u200f\u202a-\u202e"
    "\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb\U000e0000-\U000e007f]"
    # One selector says how the character before it is drawn; several in a row say something to a machine.
    "|[\ufe00-\ufe0f\U000e0100-\U000e01ef]{2,}"
)
# Joiners stay where scripts need them: alone, between two characters beyond Latin.
_BEYOND_LATIN = "[^\x00-\u02ff\u200b-\u200d]"
_STRAY_JOINER = re.compile(f"[\u200c\u200d](?:(?<!{_BEYOND_LATIN}.)|(?!{_BEYOND_LATIN}))", re.DOTALL)


def without_unseen(text: str) -> str:
    """Leave out the characters of a page that show nothing, controls among them; line feeds and tabs stay."""
    return _CONTROL.sub("", without_hidden_characters(text))


def without_hidden_characters(text: str) -> str:
    """Leave out what hides in a text; controls stay, as logs and listings have them."""
    if text.isascii():
        return text
    text = _UNSEEN.sub("", text)
    return _STRAY_JOINER.sub("", text) if "\u200c" in text or "\u200d" in text else text
