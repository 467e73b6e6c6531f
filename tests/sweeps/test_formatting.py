"""Numbers as a person reads them."""

import pytest

from paribus.sweeps.formatting import number, signed


@pytest.mark.parametrize(
    ("value", "plain", "with_sign"),
    [
        (None, "–", "–"),
        (1e-17, "0.0000", "+0.0000"),
        (0.00002345, "2.35e-05", "+2.3e-05"),
        (-0.25, "-0.2500", "-0.2500"),
        (1234.5, "1234.5000", "+1234.5000"),
        (9.219952e27, "9.22e+27", "+9.22e+27"),  # a run that nearly diverged
    ],
)
def test_a_number_is_as_long_as_it_says_something(value, plain, with_sign):
    assert (number(value), signed(value)) == (plain, with_sign)
