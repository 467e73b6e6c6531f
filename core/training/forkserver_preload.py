"""Import, in the server that workers are forked from, what training needs.

Imports leave no garbage, and searching for it takes a tenth of their time, and half a second when
the server ends: the search is off there, and each worker turns it on.
"""

import atexit
import gc
import sys

if any("multiprocessing.forkserver" in word for word in sys.orig_argv):  # never in a user's process
    gc.disable()
    atexit.register(gc.freeze)

import paribus.core.training.job  # noqa: F401
