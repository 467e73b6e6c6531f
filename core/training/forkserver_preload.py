"""What training needs, imported once by the server that workers are forked from.

Imports leave no garbage, and looking for it takes a tenth of their time, and half a second when the
server ends: the search is off here, and each worker turns it on.
"""

import atexit
import gc

gc.disable()
atexit.register(gc.freeze)
