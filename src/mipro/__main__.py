"""`python -m mipro`: the command `mipro`, where the folder of scripts is not on the path."""

from __future__ import annotations

from mipro.cli import main

if __name__ == "__main__":
    main()
