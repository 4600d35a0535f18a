"""`python -m plateau_rule.trials FOLDER`: train one cell, from what stands in its folder."""

import sys
from pathlib import Path

from plateau_rule.trials.cell import main

if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
