"""Predictions of a finished run for new data, which is treated as the training data were.

`recipe` is what the record says of that treatment; `rows`, `texts` and `images` read what is given
by it; `outcome` sends it through the model. The training data need not be there.
"""

from paribus.core.predict.given import Given
from paribus.core.predict.outcome import predict_run

__all__ = ["Given", "predict_run"]
