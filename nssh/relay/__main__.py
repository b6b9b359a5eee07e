"""Entry point of the daemon (`python3 -I -S …/nssh/relay/__main__.py serve …`), and of `python3 -m nssh.relay`."""

import os
import sys

if not __package__:  # run by its path, isolated: only our own package is to be found
    sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

from nssh.relay.main import main

sys.exit(main(sys.argv[1:]))
