"""`python -m plateau_rule.trials FOLDER [--beside FOLDER…]`: train one cell, from what stands in its folder."""

import sys
from pathlib import Path

from plateau_rule.trials.cell import main

if __name__ == "__main__":
    folder, *others = sys.argv[1:]
    sys.exit(main(Path(folder), [Path(other) for other in others[1:]] if others else None))
