"""Text of anybody's on a terminal and on a page: it stands there and does nothing."""

import unicodedata

from hypothesis import given
from hypothesis import strategies as st

from paribus.core.errors import inert, shown


def test_words_of_all_scripts_stay_as_they_are():
    for text in ("東京　都", "می‌خواهم", "naïve café", "👩‍🔬", "שלום", "one\ttwo\nthree"):
        assert inert(text) == text


@given(st.text())
def test_nothing_moves_the_cursor_or_turns_letters(text):
    for c in inert(text):
        assert c in "\n\t\u200c\u200d\xad" or unicodedata.category(c) not in (
            "Cc",
            "Cf",
            "Zl",
            "Zp",
        )
    assert len(inert(text)) == len(text)
    assert "\n" not in shown(text)
